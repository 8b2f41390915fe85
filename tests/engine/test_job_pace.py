"""How fast a job goes on: nothing holds up the first words, and what follows keeps the model busy."""

from __future__ import annotations

import asyncio

from lithophone.backends.base import RecognitionRequest
from lithophone.backends.fake import FakeBackend, LoudnessDetector
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
