"""One transcription: a PCM stream in, segments out as they become final.

Owns the flow audio blocks → windows → recognitions → segments of a single request. Decoding runs ahead of the model by
a bounded number of windows, so that memory stays flat for any length and the first segment does not wait for the last
byte. Knows no wire format.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from functools import partial
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np

from lithophone.audio.activity import SPEECH_PROBABILITY
from lithophone.audio.clip import Clip
from lithophone.audio.voice import TurnOptions
from lithophone.audio.waveform import SAMPLE_RATE, samples_in_pcm16, seconds_from_samples
from lithophone.audio.windows import Window, is_silent, is_too_short
from lithophone.backends.base import Recognition, RecognitionRequest, Samples, VoiceStream
from lithophone.engine.attempts import Attempt, recognise_soundly
from lithophone.engine.conversation import Conversation
from lithophone.engine.language import tell_language
from lithophone.engine.listening import open_listener
from lithophone.engine.segmentation import moved, segments_of
from lithophone.engine.stitching import find_seam, keep_words
from lithophone.engine.transcript import Segment, Transcript, Usage
from lithophone.granite.family import ModelSpec
from lithophone.granite.prompts import Tags, Task

NOTHING_HEARD = Recognition(text="", tokens=(), prompt_tokens=0, audio_tokens=0, no_speech_probability=1.0)
"""What silence gives, without asking the model."""


class _Hearing(NamedTuple):
    """A window on its way through the model."""

    window: Window
    attempt: asyncio.Task[Attempt]


class _Heard(NamedTuple):
    """A window and what was heard in it."""

    window: Window
    attempt: Attempt


_Ahead = asyncio.Queue[_Hearing | Exception | None]


class JobOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the request asked for.

    `language` is an ISO-639-1 code; `translate_to` another, of the language to write; `keywords` are words likely to be
    said; `temperature` 0 is greedy; `turns` makes each turn of speech a window of its own; `speakers` are told apart;
    `native_times` takes the times of words from the model's own tags.
    """

    language: str | None = None
    keywords: tuple[str, ...] = ()
    temperature: float = 0.0
    normalise_loudness: bool = False
    turns: TurnOptions | None = None
    translate_to: str | None = None
    speakers: bool = False
    native_times: bool = False

    @property
    def task(self) -> Task:
        """What the model shall do with each window."""
        times = Tags.WORD_TIMES if self.native_times else None
        return Task(
            language=self.language,
            translate_to=self.translate_to,
            keywords=self.keywords,
            tags=Tags.SPEAKERS if self.speakers else times,
        )


class Recogniser(Protocol):
    """What a job needs of the engine."""

    spec: ModelSpec

    @property
    def windows_ahead(self) -> int:
        """How many windows may be recognised or waiting while decoding goes on."""
        ...

    def open_voice(self) -> VoiceStream | None:
        """Voice activity for a recording, if the engine can tell it."""
        ...

    async def recognise(self, job_id: int, request: RecognitionRequest) -> Recognition:
        """One window through the model."""
        ...

    def cancel(self, job_id: int) -> None:
        """Forget what waits or runs for the job."""
        ...


class Job:
    """Iterate once for the segments; `transcript()` is whole afterwards."""

    def __init__(
        self, engine: Recogniser, job_id: int, blocks: AsyncGenerator[bytes], options: JobOptions
    ) -> None:
        self._engine = engine
        self._job_id = job_id
        self._blocks = blocks
        self._options = options
        self._segments: list[Segment] = []
        self._recognising: set[asyncio.Task[Attempt]] = set()
        self._samples = 0
        self._conversation = Conversation() if options.speakers else None
        self._in_order = asyncio.Lock()

    @property
    def duration_seconds(self) -> float:
        """Audio decoded so far."""
        return self._samples / SAMPLE_RATE

    async def transcript(self) -> Transcript:
        """Everything together, after the iteration has ended."""
        text = "".join(segment.delta for segment in self._segments)
        known = self._options.translate_to or self._options.language
        return Transcript(
            text=text,
            language=known or await tell_language(text, self._engine.spec.speech_languages),
            duration_seconds=self.duration_seconds,
            segments=tuple(self._segments),
            usage=sum((segment.usage for segment in self._segments), Usage()),
        )

    async def __aiter__(self) -> AsyncGenerator[Segment]:
        """Segments in order, each as soon as it is final; closing the iterator early cancels the rest.

        Raises:
            ServiceError: decoding or recognition failed; the segments before it were given.
        """
        ahead: _Ahead = asyncio.Queue(self._engine.windows_ahead)
        listening = asyncio.create_task(self._listen(ahead))
        finished = False
        try:
            async with aclosing(_stitched(ahead)) as results:
                async for heard in results:
                    for segment in self._segments_of(heard):
                        self._segments.append(segment)
                        yield segment
            finished = True
        finally:
            if not finished:
                self._engine.cancel(self._job_id)
            await _end([listening, *self._recognising])

    async def _listen(self, ahead: _Ahead) -> None:
        """Decode and cut; every window is on its way to the model as soon as it is cut, once the first words are out."""
        try:
            async with aclosing(self._blocks) as blocks:
                spoken = False
                async for window in self._windows(blocks):
                    hearing = self._hear(window)
                    await ahead.put(hearing)
                    spoken = spoken or await _is_heard(hearing)
        except Exception as error:  # noqa: BLE001 - handed to the consumer, which raises it in its place
            await ahead.put(error)
        else:
            await ahead.put(None)

    async def _windows(self, blocks: AsyncIterator[bytes]) -> AsyncIterator[Window]:
        listener = open_listener(self._engine.spec, self._engine.open_voice(), self._options.turns)
        async for block in blocks:
            self._samples += samples_in_pcm16(len(block))
            for window in await asyncio.to_thread(listener.push, block):
                yield window
        for window in await asyncio.to_thread(listener.finish):
            yield window

    def _hear(self, window: Window) -> _Hearing:
        task = asyncio.create_task(self._recognise(window))
        self._recognising.add(task)
        task.add_done_callback(self._recognising.discard)
        return _Hearing(window, task)

    async def _recognise(self, window: Window) -> Attempt:
        if not self._holds_speech(window):
            return Attempt(_in_window(NOTHING_HEARD, window), self._options.temperature)
        if self._conversation is None:
            attempt = await self._attempt(window, self._options.task)
        else:
            async with self._in_order:
                attempt = await self._converse(window, self._conversation)
        return attempt._replace(recognition=_in_window(attempt.recognition, window))

    async def _attempt(self, window: Window, task: Task, context: Samples | None = None) -> Attempt:
        samples = window.heard if context is None else np.concatenate((context, window.heard))
        if self._options.normalise_loudness:
            samples = await asyncio.to_thread(_normalised, samples)
        request = RecognitionRequest(
            samples=samples,
            task=task,
            temperature=self._options.temperature,
            context_samples=0 if context is None else len(context),
        )
        return await recognise_soundly(partial(self._engine.recognise, self._job_id), request)

    async def _converse(self, window: Window, conversation: Conversation) -> Attempt:
        """A window behind what was said of late; the one before has to be known for it."""
        context = conversation.before(window)
        task = msgspec.structs.replace(self._options.task, prefix_text=context.text)
        attempt = await self._attempt(window, task, context.samples)
        return attempt._replace(recognition=conversation.add(window, attempt.recognition))

    def _holds_speech(self, window: Window) -> bool:
        """Whether the model shall hear the window at all: on silence and noise it would make words up."""
        if is_too_short(window.samples) or is_silent(window.samples):
            return False
        turns = self._options.turns
        threshold = SPEECH_PROBABILITY if turns is None else turns.threshold
        return window.speech_probability is None or window.speech_probability >= threshold

    def _segments_of(self, heard: _Heard) -> list[Segment]:
        return segments_of(
            heard.attempt.recognition,
            start_seconds=heard.window.start_seconds,
            end_seconds=heard.window.stop_seconds,
            first_id=len(self._segments),
            follows_text=any(segment.text for segment in self._segments),
            temperature=heard.attempt.temperature,
            retried=heard.attempt.retried,
            earliest_seconds=self._segments[-1].end_seconds
            if self._segments and self._segments[-1].words
            else 0.0,
        )


async def _is_heard(hearing: _Hearing) -> bool:
    """Wait for a window, and tell whether it has words: in the model's batch the next ones would hold up the first words.

    One that shares its end with the next needs that one too, and is not waited for.
    """
    if hearing.window.shared_after_samples:
        return True
    await asyncio.wait((hearing.attempt,))
    attempt = hearing.attempt
    return not attempt.cancelled() and attempt.exception() is None and bool(attempt.result().recognition.text)


async def _stitched(ahead: _Ahead) -> AsyncGenerator[_Heard]:
    """Windows as they are done; one that shares its end with the next waits for it, so that no word comes twice.

    Raises:
        Exception: what came out of the queue; whatever was waiting is given first.
    """
    held: _Heard | None = None
    while (hearing := await ahead.get()) is not None:
        if isinstance(hearing, Exception):
            if held is not None:
                yield held
            raise hearing
        heard = _Heard(hearing.window, await hearing.attempt)
        if held is not None:
            held, heard = _stitch(held, heard)
            yield held
        held = heard if heard.window.shared_after_samples else None
        if held is None:
            yield heard


def _stitch(first: _Heard, second: _Heard) -> tuple[_Heard, _Heard]:
    """Both without what the other tells better."""
    start = second.window.start_seconds
    seam = find_seam(
        [moved(word, first.window.start_seconds) for word in first.attempt.recognition.words],
        [moved(word, start) for word in second.attempt.recognition.words],
        start,
        start + seconds_from_samples(second.window.shared_before_samples),
    )
    return _keep(first, 0, seam.kept), _keep(second, seam.dropped, len(second.attempt.recognition.words))


def _keep(heard: _Heard, start: int, stop: int) -> _Heard:
    recognition = keep_words(heard.attempt.recognition, start, stop)
    return heard._replace(attempt=heard.attempt._replace(recognition=recognition))


def _in_window(recognition: Recognition, window: Window) -> Recognition:
    """What was heard in a part of a window, with times from the window's start.

    Voice activity knows better than the CTC head whether somebody speaks.
    """
    voice = window.speech_probability
    return msgspec.structs.replace(
        recognition,
        words=tuple(moved(word, window.unheard_seconds) for word in recognition.words),
        no_speech_probability=recognition.no_speech_probability if voice is None else 1.0 - voice,
    )


def _normalised(samples: Samples) -> Samples:
    return Clip.from_waveform(samples).normalised().waveform


async def _end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel what still runs and wait until it is gone."""
    waiting = list(tasks)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
