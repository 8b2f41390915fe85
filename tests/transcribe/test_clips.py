from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithophone.errors import ConfigurationError
from lithophone.transcribe.clips import Clips, muted, parse_clips

SAMPLE_RATE = 16_000


@pytest.mark.parametrize(
    ("text", "clips"),
    [
        ("", ()),
        ("0,1.5", ((0.0, 1.5),)),
        ("3", ((3.0, float("inf")),)),
        ("1,2,4", ((1.0, 2.0), (4.0, float("inf")))),
    ],
)
def test_times_are_written_as_whisper_writes_them(text: str, clips: Clips) -> None:
    assert parse_clips(text) == clips


@pytest.mark.parametrize("text", ["a", "2,1", "1,1", "-1,2", "1,,2", "nan,2"])
def test_what_are_no_times_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="start,end"):
        parse_clips(text)


@given(st.lists(st.integers(0, 4000), min_size=1, max_size=6, unique=True), st.integers(1, 9_000))
def test_outside_of_the_clips_there_is_silence_and_inside_nothing_changes(times: list[int], cut: int) -> None:
    clips = parse_clips(",".join(str(time / 10_000) for time in sorted(times)))
    samples = np.arange(1, 8_001).astype(np.int16)
    heard = np.frombuffer(asyncio.run(whole(samples, cut, clips)), np.int16)
    inside = np.zeros(len(samples), bool)
    for start, end in clips:
        inside[round(start * SAMPLE_RATE) : None if end == float("inf") else round(end * SAMPLE_RATE)] = True
    assert np.array_equal(heard, np.where(inside, samples, 0)[: len(heard)])
    assert not inside[len(heard) :].any()


async def whole(samples: np.ndarray[tuple[int], np.dtype[np.int16]], cut: int, clips: Clips) -> bytes:
    async def blocks() -> AsyncIterator[bytes]:
        for start in range(0, len(samples), cut):
            yield samples[start : start + cut].tobytes()

    return b"".join([block async for block in muted(blocks(), clips)])
