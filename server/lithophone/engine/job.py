"""One transcription: a PCM stream in, segments out as they become final.

Owns the flow audio blocks → windows → recognitions → segments of a single request. Decoding runs ahead of the model by
a bounded number of windows, so that memory stays flat for any length and the first segment does not wait for the last
byte. Knows no wire format.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing
from typing import Any, NamedTuple, Protocol

import msgspec

from lithophone.audio.clip import Clip
from lithophone.audio.waveform import SAMPLE_RATE
from lithophone.audio.windows import Window, WindowSplitter, is_silent, is_too_short
from lithophone.backends.base import Recognition, RecognitionRequest, Samples
from lithophone.engine.language import detect_language
from lithophone.engine.segmentation import segments_of
from lithophone.engine.transcript import Segment, Transcript, Usage
from lithophone.granite.family import ModelSpec
from lithophone.granite.prompts import Task

NOTHING_HEARD = Recognition(text="", tokens=(), prompt_tokens=0, audio_tokens=0, no_speech_probability=1.0)
"""What silence gives, without asking the model."""


class _Heard(NamedTuple):
    window: Window
    recognition: asyncio.Task[Recognition]


_Ahead = asyncio.Queue[_Heard | Exception | None]


class JobOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the request asked for. `language` is an ISO-639-1 code; `temperature` 0 is greedy."""

    language: str | None = None
    temperature: float = 0.0
    normalise_loudness: bool = False


class Recogniser(Protocol):
    """What a job needs of the engine."""

    spec: ModelSpec

    @property
    def windows_ahead(self) -> int:
        """How many windows may be recognised or waiting while decoding goes on."""
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
        self._recognising: set[asyncio.Task[Recognition]] = set()
        self._samples = 0

    @property
    def duration_seconds(self) -> float:
        """Audio decoded so far."""
        return self._samples / SAMPLE_RATE

    def transcript(self) -> Transcript:
        """Everything together, after the iteration has ended."""
        text = "".join(segment.delta for segment in self._segments)
        candidates = self._engine.spec.speech_languages
        return Transcript(
            text=text,
            language=self._options.language or detect_language(text, candidates),
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
            while (heard := await ahead.get()) is not None:
                if isinstance(heard, Exception):
                    raise heard
                for segment in self._segments_of(heard.window, await heard.recognition):
                    self._segments.append(segment)
                    yield segment
            finished = True
        finally:
            if not finished:
                self._engine.cancel(self._job_id)
            await _end([listening, *self._recognising])

    async def _listen(self, ahead: _Ahead) -> None:
        """Decode and cut; every window is on its way to the model as soon as it is cut."""
        try:
            async with aclosing(self._blocks) as blocks:
                async for window in self._windows(blocks):
                    await ahead.put(self._hear(window))
        except Exception as error:  # noqa: BLE001 - handed to the consumer, which raises it in its place
            await ahead.put(error)
        else:
            await ahead.put(None)

    async def _windows(self, blocks: AsyncIterator[bytes]) -> AsyncIterator[Window]:
        splitter = WindowSplitter(max_window_seconds=self._engine.spec.max_window_seconds)
        async for block in blocks:
            for window in splitter.push(block):
                yield window
        for window in splitter.finish():
            yield window

    def _hear(self, window: Window) -> _Heard:
        self._samples = window.stop_sample
        task = asyncio.create_task(self._recognise(window))
        self._recognising.add(task)
        task.add_done_callback(self._recognising.discard)
        return _Heard(window, task)

    async def _recognise(self, window: Window) -> Recognition:
        if is_too_short(window.samples) or is_silent(window.samples):
            return NOTHING_HEARD
        samples = window.samples
        if self._options.normalise_loudness:
            samples = await asyncio.to_thread(_normalised, samples)
        request = RecognitionRequest(
            samples=samples,
            task=Task(language=self._options.language),
            temperature=self._options.temperature,
        )
        return await self._engine.recognise(self._job_id, request)

    def _segments_of(self, window: Window, recognition: Recognition) -> list[Segment]:
        return segments_of(
            recognition,
            start_seconds=window.start_seconds,
            end_seconds=window.stop_seconds,
            first_id=len(self._segments),
            follows_text=any(segment.text for segment in self._segments),
            temperature=self._options.temperature,
        )


def _normalised(samples: Samples) -> Samples:
    return Clip.from_waveform(samples).normalised().waveform


async def _end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel what still runs and wait until it is gone."""
    waiting = list(tasks)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
