"""How loud a recording is from moment to moment, and where in it a word fades away.

A CTC head tells when letters are heard, not how long the last one lasts; the sound does. Pure numpy.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from lithophone.audio.waveform import SAMPLE_RATE

Levels = NDArray[np.float32]
"""Mean power of 20 ms from every 10 ms on, in dB of full scale, float32 [hops]."""

HOP_SAMPLES: Final = SAMPLE_RATE // 100
HOP_SECONDS: Final = HOP_SAMPLES / SAMPLE_RATE
FADED_DB: Final = 30.0  # below the loudest moment of its word, a sound has faded
FLOOR_SHARE: Final = 0.3  # ... or so far above the quiet behind it, as a share of what lies between
CLEAR_DB: Final = 12.0  # with less between a word and the quiet behind it, there is no telling
LONGEST_FADE_HOPS: Final = 40  # behind the last letter
LONGEST_FADE_SECONDS: Final = LONGEST_FADE_HOPS * HOP_SECONDS
SILENT_POWER: Final = 1e-10


def levels_of(samples: NDArray[np.float32]) -> Levels:
    """Levels of float32 samples in [-1, 1] at 16 kHz; what is left behind the last 10 ms is not measured."""
    hops = len(samples) // HOP_SAMPLES
    power = np.square(samples[: hops * HOP_SAMPLES]).reshape(hops, HOP_SAMPLES).mean(axis=1)
    following = np.concatenate((power[1:], power[-1:]))
    return (10 * np.log10((power + following) / 2 + SILENT_POWER)).astype(np.float32)


def fading_seconds(levels: Levels, start_seconds: float, heard_seconds: float) -> float | None:
    """When a word has faded away.

    Args:
        levels: Of the whole recording.
        start_seconds: Where the word begins.
        heard_seconds: Where its last letter was heard; it lasts at least until there.

    Returns:
        The first moment from `heard_seconds` on that is quiet beside the word; None if the levels do not tell.
    """
    start, heard = (round(seconds / HOP_SECONDS) for seconds in (start_seconds, heard_seconds))
    behind = levels[heard : heard + LONGEST_FADE_HOPS]
    spoken = levels[start:heard]
    if not len(behind) or not len(spoken):
        return None
    loudest, floor = float(spoken.max()), float(behind.min())
    if loudest - floor < CLEAR_DB:
        return None
    faded = behind <= max(loudest - FADED_DB, floor + FLOOR_SHARE * (loudest - floor))
    return (heard + int(faded.argmax())) * HOP_SECONDS
