"""One transcription: a PCM stream in, segments out as they become final.

Owns the stages of a single request and the queues between them: `_cut` decodes and cuts, each window is recognised in a
task of its own, `_write` puts them in order, stitches and segments. Once the first words are out, decoding runs ahead by
as many windows as fill the model's batch, so that memory stays flat for any length and a long file alone is done as fast as
many short ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import NamedTuple

from lithophone.audio.waveform import samples_in_pcm16, seconds_from_samples
from lithophone.audio.windows import Window
from lithophone.backends.base import VoiceStream
from lithophone.engine.ahead import Ahead
from lithophone.engine.attempts import Attempt
from lithophone.engine.language import tell_language
from lithophone.engine.listening import open_listener
from lithophone.engine.options import JobOptions
from lithophone.engine.recognition import WindowRecogniser
from lithophone.engine.segmentation import segments_of
from lithophone.engine.stitching import RecognisedWindow, Stitcher
from lithophone.engine.transcript import Segment, Transcript, Usage
from lithophone.hosts.base import Recogniser

SEGMENTS_AHEAD = 1


class _Underway(NamedTuple):
    """A window on its way through the model. The task gives an exception rather than raise it: others come first."""

    window: Window
    task: asyncio.Task[Attempt | Exception]

    async def outcome(self) -> RecognisedWindow | Exception:
        """What came of it."""
        outcome = await self.task
        return outcome if isinstance(outcome, Exception) else RecognisedWindow(self.window, outcome)


_Ahead = Ahead[_Underway | Exception | None]
_Written = asyncio.Queue[Segment | None]


class Job:
    """Iterate once for the segments; `transcript()` is whole afterwards.

    Args:
        recogniser: The model's windows for this job.
        blocks: s16le mono 16 kHz.
        options: What was asked for.
        voice: Voice activity of the recording; without it windows are cut by energy alone.
    """

    def __init__(
        self,
        recogniser: Recogniser,
        blocks: AsyncGenerator[bytes],
        options: JobOptions,
        *,
        voice: VoiceStream | None = None,
    ) -> None:
        self._recogniser = recogniser
        self._blocks = blocks
        self._options = options
        self._voice = voice
        self._windows = WindowRecogniser(recogniser, options)
        self._segments: list[Segment] = []
        self._samples = 0

    @property
    def duration_seconds(self) -> float:
        """Audio decoded so far."""
        return seconds_from_samples(self._samples)

    async def transcript(self) -> Transcript:
        """Everything together, after the iteration has ended."""
        text = "".join(segment.delta for segment in self._segments)
        known = self._options.translate_to or self._options.language
        return Transcript(
            text=text,
            language=known or await tell_language(text, self._recogniser.spec.speech_languages),
            duration_seconds=self.duration_seconds,
            segments=tuple(self._segments),
            usage=sum((segment.usage for segment in self._segments), Usage()),
        )

    async def __aiter__(self) -> AsyncGenerator[Segment]:
        """Segments in order, each as soon as it is final; closing the iterator early cancels the rest.

        Raises:
            ServiceError: decoding or recognition failed; the segments before it were given.
        """
        written: _Written = asyncio.Queue(SEGMENTS_AHEAD)
        stages = asyncio.create_task(self._run_stages(written))
        try:
            while (segment := await written.get()) is not None:
                yield segment
            await stages
        finally:
            if not stages.done() or stages.cancelled() or stages.exception() is not None:
                self._recogniser.cancel()
            stages.cancel()
            await asyncio.wait((stages,))

    async def _run_stages(self, written: _Written) -> None:
        """All stages to their end, or to the first failure."""
        ahead: _Ahead = Ahead(lambda: self._windows.may_run_ahead)
        failure: BaseException | None = None
        try:
            async with asyncio.TaskGroup() as stages:
                stages.create_task(self._cut(stages, ahead))
                stages.create_task(self._write(ahead, written))
        except BaseExceptionGroup as failures:
            failure = failures.exceptions[0]
        await written.put(None)
        if failure is not None:
            raise failure

    async def _cut(self, stages: asyncio.TaskGroup, ahead: _Ahead) -> None:
        """Decode and cut; every window is on its way to the model as soon as it is cut, once the first words are out."""
        try:
            async with aclosing(self._blocks) as blocks:
                spoken = False
                async for window in self._cut_windows(blocks):
                    await ahead.room()
                    underway = _Underway(window, stages.create_task(self._recognise(window)))
                    ahead.put(underway, underway.task)
                    spoken = spoken or await _has_words(underway)
        except Exception as failure:  # noqa: BLE001 - handed on, and raised in its place
            ahead.put(failure)
        else:
            ahead.put(None)

    async def _cut_windows(self, blocks: AsyncIterator[bytes]) -> AsyncIterator[Window]:
        listener = open_listener(self._recogniser.spec, self._voice, self._options.turns)
        async for block in blocks:
            self._samples += samples_in_pcm16(len(block))
            for window in await asyncio.to_thread(listener.push, block):
                yield window
        for window in await asyncio.to_thread(listener.finish):
            yield window

    async def _recognise(self, window: Window) -> Attempt | Exception:
        try:
            return await self._windows.recognise(window)
        except Exception as failure:  # noqa: BLE001 - raised in its place by `_write`
            return failure

    async def _write(self, ahead: _Ahead, written: _Written) -> None:
        """In order: what two windows share is told once, and what is final leaves as segments."""
        stitcher = Stitcher()
        while (underway := await ahead.get()) is not None:
            outcome = underway if isinstance(underway, Exception) else await underway.outcome()
            if isinstance(outcome, Exception):
                await self._write_segments(stitcher.finish(), written)
                raise outcome
            with ahead.held_up():
                await self._write_segments(stitcher.push(outcome), written)
        await self._write_segments(stitcher.finish(), written)

    async def _write_segments(self, final: list[RecognisedWindow], written: _Written) -> None:
        for recognised in final:
            for segment in self._segments_of(recognised):
                self._segments.append(segment)
                await written.put(segment)

    def _segments_of(self, recognised: RecognisedWindow) -> list[Segment]:
        last = self._segments[-1] if self._segments else None
        return segments_of(
            recognised.attempt.recognition,
            start_seconds=recognised.window.start_seconds,
            end_seconds=recognised.window.stop_seconds,
            first_id=len(self._segments),
            follows_text=any(segment.text for segment in self._segments),
            temperature=recognised.attempt.temperature,
            retried=recognised.attempt.retried,
            earliest_seconds=last.end_seconds if last is not None and last.words else 0.0,
        )


async def _has_words(underway: _Underway) -> bool:
    """Wait for a window, and tell whether it has words: in the model's batch the next ones would hold up the first words.

    One that shares its end with the next needs that one too, and is not waited for.
    """
    if underway.window.shared_after_samples:
        return True
    outcome = await underway.outcome()
    return not isinstance(outcome, Exception) and bool(outcome.attempt.recognition.text)
