"""How fast a job goes on: nothing holds up the first words, and what follows keeps the model busy."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from lithophone.backends.base import RecognitionRequest
from lithophone.backends.fake import FakeBackend, LoudnessDetector
from lithophone.engine.job import Job
from lithophone.engine.options import JobOptions
from tests.engine.conftest import blocks, noise, running

QUIET = bytes(2 * 16_000 * 40)


async def transcribe(backend: FakeBackend, pcm: bytes) -> str:
    async with running(backend, voice=LoudnessDetector()) as jobs:
        job = jobs.job(blocks(pcm), JobOptions())
        return " ".join([segment.text async for segment in job])


def calls_of(pcm: bytes, hear: dict[int, str] | None = None) -> list[int]:
    """How many windows the model was given at each call."""
    answers = hear or {}

    def answer(request: RecognitionRequest) -> str:
        del request
        return answers.get(len(backend.calls), "words")

    backend = FakeBackend(answer, max_batch=8, delay_seconds=0.1)
    asyncio.run(transcribe(backend, pcm))
    return [len(call) for call in backend.calls]


PAUSED = b"".join(noise(9, seed=seed) + bytes(2 * 16_000) for seed in range(12))


def test_the_first_window_has_the_model_to_itself_and_the_next_share_it() -> None:
    first, *later = calls_of(PAUSED)
    assert first == 1
    assert max(later) > 1


def test_silence_and_windows_without_words_are_not_the_first_words() -> None:
    first, second, third, *later = calls_of(QUIET + PAUSED, {1: "", 2: ""})
    assert (first, second, third) == (1, 1, 1)
    assert max(later) > 1


PLACES = 16
STANDSTILL_SECONDS = 0.2
LONG = b"".join(noise(2, seed=seed % 7) + bytes(2 * 12_000) for seed in range(300))
SHORT = noise(3)


class Unhurried(FakeBackend):
    """A step takes until no more windows come, however busy the machine is: what counts is what the job sends ahead."""

    def __init__(self) -> None:
        super().__init__(max_batch=PLACES)
        self.underway: Callable[[], int] = lambda: 0

    def decode(self, requests: Sequence[RecognitionRequest], interrupted: Callable[[], bool]) -> list[str]:
        seen, since = -1, time.monotonic()
        while time.monotonic() < since + STANDSTILL_SECONDS:
            if self.underway() != seen:
                seen, since = self.underway(), time.monotonic()
            time.sleep(0.005)
        return super().decode(requests, interrupted)


async def _steps_of_a_clip_beside_a_long_file(backend: Unhurried) -> int:
    """Steps of the model from when a short clip is sent to its answer."""
    async with running(backend, voice=LoudnessDetector()) as jobs:
        backend.underway = lambda: len(jobs.host._underway)
        short: asyncio.Task[int] | None = None
        async for segment in jobs.job(blocks(LONG), JobOptions()):
            if segment.id == PLACES and short is None:
                short = asyncio.create_task(_steps_of(jobs.job(blocks(SHORT), JobOptions()), backend))
        assert short is not None
        return await short


async def _steps_of(job: Job, backend: Unhurried) -> int:
    before = len(backend.calls)
    _ = [segment async for segment in job]
    return len(backend.calls) - before


def test_a_long_file_alone_fills_the_batch_and_a_short_clip_need_not_wait_for_it() -> None:
    """The fake does a whole batch in one step, which is the hardest to keep full. Alone, the clip takes one step."""
    backend = Unhurried()
    steps = asyncio.run(_steps_of_a_clip_beside_a_long_file(backend))
    first, _, *full, _, _ = [len(call) for call in backend.calls]  # the second began with what had come
    assert first == 1, "the first words have the model to themselves"
    assert sum(full) >= 0.8 * PLACES * len(full), full
    assert 1 <= steps <= 2 * 1 + 1
