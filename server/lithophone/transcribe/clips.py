"""Stretches of a recording that alone are heard. Everything else is made silent, so that times stay the recording's own."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from itertools import pairwise

import numpy as np

from lithophone.audio.waveform import SAMPLE_BYTES, samples_from_seconds, samples_in_pcm16
from lithophone.errors import ConfigurationError

Clips = tuple[tuple[float, float], ...]
"""Start and end of each, in seconds, in order; none: the whole recording."""


def parse_clips(text: str) -> Clips:
    """`30,60,90` as whisper writes it: from 30 to 60 s and from 90 s to the end.

    Raises:
        ConfigurationError: these are no times, or they go back.
    """
    try:
        times = [float(part) for part in text.split(",")] if text.strip() else []
    except ValueError:
        times = [-1.0]
    if len(times) % 2:
        times.append(float("inf"))
    if any(time < 0 for time in times) or any(not before < after for before, after in pairwise(times)):
        raise ConfigurationError(
            f"--clip-timestamps {text}: write start,end,start,end,… in seconds, each later than the one before"
        )
    return tuple(zip(times[::2], times[1::2], strict=True))


async def muted(blocks: AsyncIterator[bytes], clips: Clips) -> AsyncGenerator[bytes]:
    """s16le mono 16 kHz, silent outside of the clips, up to the end of the last of them."""
    position = 0
    async for block in blocks:
        if position >= _samples(clips[-1][1]):
            return
        yield _muted(block, position, clips)
        position += samples_in_pcm16(len(block))


def _muted(block: bytes, position: int, clips: Sequence[tuple[float, float]]) -> bytes:
    heard = np.zeros(samples_in_pcm16(len(block)), np.int16)
    samples = np.frombuffer(block, np.int16, count=len(block) // SAMPLE_BYTES)
    for start, end in clips:
        inside = slice(max(0, _samples(start) - position), max(0, _samples(end) - position))
        heard[inside] = samples[inside]
    return heard.tobytes()


def _samples(seconds: float) -> int:
    """Whole samples; the end of all recordings is far enough away."""
    return samples_from_seconds(min(seconds, 1e9))
