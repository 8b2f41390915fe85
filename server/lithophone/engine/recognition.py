"""One window of a job through the model: whether it is heard at all, with what before it, and what comes back.

Owns the gate that keeps silence from the model, and the order of windows whose speakers are told apart.
"""

from __future__ import annotations

import asyncio

import msgspec
import numpy as np

from lithophone.audio.activity import SPEECH_PROBABILITY
from lithophone.audio.clip import Clip
from lithophone.audio.windows import Window, is_silent, is_too_short
from lithophone.backends.base import Recognition, RecognitionRequest, Samples
from lithophone.engine.attempts import Attempt, recognise_soundly
from lithophone.engine.conversation import Conversation
from lithophone.engine.options import JobOptions
from lithophone.granite.prompts import Task
from lithophone.granite.words import moved
from lithophone.hosts.base import Recogniser

SILENCE = Recognition(text="", tokens=(), prompt_tokens=0, audio_tokens=0, no_speech_probability=1.0)
"""What is recognised in a window that the model is not asked about."""


class WindowRecogniser:
    """The windows of one job, each recognised as the options say."""

    def __init__(self, recogniser: Recogniser, options: JobOptions) -> None:
        self._recogniser = recogniser
        self._options = options
        self._conversation = Conversation() if options.speakers else None
        self._in_order = asyncio.Lock()

    @property
    def may_run_ahead(self) -> bool:
        """Whether the model could take another window soon; one behind what was said of late has to wait for that."""
        return self._conversation is None and self._recogniser.wants_more

    async def recognise(self, window: Window) -> Attempt:
        """What is said in the window, its times counted from the window's start.

        Raises:
            ServiceError: the model failed.
        """
        if not self._holds_speech(window):
            return Attempt(_in_window(SILENCE, window), self._options.temperature)
        if self._conversation is None:
            attempt = await self._attempt(window, self._options.task)
        else:
            async with self._in_order:
                attempt = await self._converse(window, self._conversation)
        return attempt._replace(recognition=_in_window(attempt.recognition, window))

    def _holds_speech(self, window: Window) -> bool:
        """Whether the model shall hear the window at all: on silence and noise it would make words up."""
        if is_too_short(window.samples) or is_silent(window.samples):
            return False
        turns = self._options.turns
        threshold = SPEECH_PROBABILITY if turns is None else turns.threshold
        return window.speech_probability is None or window.speech_probability >= threshold

    async def _converse(self, window: Window, conversation: Conversation) -> Attempt:
        """A window behind what was said of late; the one before has to be known for it."""
        context = conversation.before(window)
        task = msgspec.structs.replace(self._options.task, prefix_text=context.text)
        attempt = await self._attempt(window, task, context.samples)
        return attempt._replace(recognition=conversation.add(window, attempt.recognition))

    async def _attempt(self, window: Window, task: Task, context: Samples | None = None) -> Attempt:
        samples = window.audible if context is None else np.concatenate((context, window.audible))
        if self._options.normalise_loudness:
            samples = await asyncio.to_thread(_normalised, samples)
        request = RecognitionRequest(
            samples=samples,
            task=task,
            temperature=self._options.temperature,
            context_samples=0 if context is None else len(context),
            urgent=self._options.urgent,
        )
        return await recognise_soundly(self._recogniser.recognise, request)


def _normalised(samples: Samples) -> Samples:
    return Clip.from_waveform(samples).normalised().waveform


def _in_window(recognition: Recognition, window: Window) -> Recognition:
    """What was recognised in a part of a window, with times from the window's start.

    Voice activity knows better than the CTC head whether somebody speaks.
    """
    voice = window.speech_probability
    return msgspec.structs.replace(
        recognition,
        words=tuple(moved(word, window.inaudible_seconds) for word in recognition.words),
        no_speech_probability=recognition.no_speech_probability if voice is None else 1.0 - voice,
    )
