"""Jobs that listen to voice activity."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise

import msgspec
import numpy as np
import pytest

from lithophone.audio.audible import HEAD_SECONDS, SOUND_SAMPLES
from lithophone.audio.voice import TurnOptions
from lithophone.audio.waveform import pcm16_from_waveform
from lithophone.backends.base import Recognition, RecognitionRequest, VoiceDetector
from lithophone.backends.fake import FakeBackend, LoudnessDetector
from lithophone.backends.silero import SileroDetector
from lithophone.engine.options import JobOptions
from lithophone.engine.transcript import Segment, Transcript
from lithophone.granite.words import Word
from tests.engine.conftest import blocks, noise, running
from tests.noises import NOISES

QUIET = bytes(2 * 16_000 * 10)


async def transcribe(
    backend: FakeBackend, pcm: bytes, options: JobOptions, voice: VoiceDetector
) -> tuple[list[Segment], Transcript]:
    async with running(backend, voice=voice) as jobs:
        job = jobs.job(blocks(pcm), options)
        return [segment async for segment in job], await job.transcript()


def run(
    pcm: bytes,
    options: JobOptions | None = None,
    *,
    backend: FakeBackend | None = None,
    voice: VoiceDetector | None = None,
) -> tuple[list[Segment], Transcript]:
    chosen = backend or FakeBackend()
    return asyncio.run(transcribe(chosen, pcm, options or JobOptions(), voice or LoudnessDetector()))


@pytest.mark.parametrize("name", NOISES)
def test_where_nobody_speaks_nothing_reaches_the_model(name: str) -> None:
    backend = FakeBackend()
    segments, transcript = run(pcm16_from_waveform(NOISES[name]), backend=backend, voice=SileroDetector())
    assert backend.calls == []
    assert transcript.text == ""
    assert transcript.duration_seconds == 12
    assert all(segment.no_speech_probability > 0.5 for segment in segments)


def test_each_turn_is_a_window_and_the_silence_between_is_left_out() -> None:
    backend = FakeBackend()
    options = JobOptions(turns=TurnOptions(silence_seconds=1.0))
    segments, transcript = run(QUIET + noise(3) + QUIET + noise(2) + QUIET, options, backend=backend)
    assert len(backend.calls) == 2
    starts = [segment.start_seconds for segment in segments]
    assert starts == pytest.approx([9.7, 22.7], abs=0.1)
    assert transcript.duration_seconds == 35


def test_a_file_without_turns_is_an_empty_transcript() -> None:
    segments, transcript = run(QUIET, JobOptions(turns=TurnOptions()))
    assert (segments, transcript.text, transcript.duration_seconds) == ([], "", 10)


class SpeakingClock(FakeBackend):
    """Hears a word a second, named by the level of the samples, at its true time; also what a cut left of one."""

    def answer(self, request: RecognitionRequest, text: str) -> Recognition:
        words = _ticks(request)
        return msgspec.structs.replace(super().answer(request, text), text=_text(words), words=words)


def _ticks(request: RecognitionRequest) -> tuple[Word, ...]:
    levels = (np.abs(request.samples) * 1000).round().astype(int)
    bounds = [0, *(np.flatnonzero(np.diff(levels)) + 1).tolist(), len(levels)]
    return tuple(
        Word(
            text=f" {levels[start]}" if start else f"{levels[start]}",
            start_seconds=start / 16_000,
            end_seconds=stop / 16_000,
            probability=1.0,
        )
        for start, stop in pairwise(bounds)
    )


def _text(words: Sequence[Word]) -> str:
    return "".join(word.text for word in words)


def clock(seconds: int) -> bytes:
    """Each second at a level of its own."""
    levels = np.repeat((np.arange(seconds) + 50) / 1000, 16_000)
    signs = np.where(np.arange(len(levels)) % 2, 1, -1)
    return pcm16_from_waveform((levels * signs).astype(np.float32))


def test_speech_without_a_pause_loses_and_doubles_no_word_at_the_cuts() -> None:
    backend = SpeakingClock()
    _, transcript = run(clock(95), backend=backend)
    assert len(backend.calls) > 3
    said = [int(word) for word in transcript.text.split()]
    assert said == list(range(50, 145))
    assert [word.text.strip() for word in transcript.words] == transcript.text.split()
    bounds = [word.start_seconds for word in transcript.words]
    assert bounds == sorted(bounds)


def test_a_silence_before_the_first_word_is_not_heard_and_times_count_from_the_window() -> None:
    backend = SpeakingClock()
    _, transcript = run(bytes(2 * 16_000 * 2) + clock(4), backend=backend)
    ((request,),) = backend.calls
    assert len(request.samples) == pytest.approx((4 + HEAD_SECONDS) * 16_000, abs=SOUND_SAMPLES)
    starts = {word.text.strip(): word.start_seconds for word in transcript.words}
    assert [starts[str(50 + second)] for second in range(4)] == [2.0, 3.0, 4.0, 5.0]


def test_a_looping_window_is_marked_in_its_segment() -> None:
    def loops(request: RecognitionRequest) -> str:
        return "round and round " * 20 if len(request.samples) > 160_000 else "it goes"

    segments, transcript = run(noise(15), backend=FakeBackend(loops))
    assert transcript.text == "it goes it goes"
    assert all(segment.retried for segment in segments)
