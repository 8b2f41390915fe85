"""What the probabilities of voice say: whether somebody speaks, and where nobody does.

Owns the frames and thresholds of voice activity. Pure numpy; who computes the probabilities is none of its business.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Probabilities = NDArray[np.float32]
"""Probability of voice in consecutive frames of `VOICE_FRAME_SAMPLES`, float32 [frames]."""

VOICE_FRAME_SAMPLES: Final = 512  # 32 ms
SPEECH_PROBABILITY: Final = 0.5  # from here on a frame is voice
PAUSE_PROBABILITY: Final = 0.35  # below this it is not; what lies between goes on as it was
PAUSE_FRAMES: Final = 6  # 192 ms; a shorter gap may be within a word
SPEECH_FRAMES: Final = 8  # 256 ms; a note or a click may look like voice for 100 ms


def speech_probability(probabilities: Probabilities) -> float:
    """Probability that somebody speaks: the highest mean over a quarter of a second; 0 for no frames."""
    if len(probabilities) == 0:
        return 0.0
    size = min(SPEECH_FRAMES, len(probabilities))
    return float(np.convolve(probabilities, np.full(size, 1 / size), mode="valid").max().clip(0, 1))


def find_pauses(probabilities: Probabilities) -> list[tuple[int, int]]:
    """Runs of at least `PAUSE_FRAMES` frames without voice, as (start, stop) frames."""
    quiet = np.concatenate([[False], probabilities < PAUSE_PROBABILITY, [False]])
    edges = np.flatnonzero(quiet[1:] != quiet[:-1])
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2) if stop - start >= PAUSE_FRAMES]


def voiced_stretches(probabilities: Probabilities) -> list[tuple[int, int]]:
    """From voice to voice without a pause between, as (start, stop) frames."""
    voiced = np.flatnonzero(probabilities >= PAUSE_PROBABILITY)
    if not len(voiced):
        return []
    parts = np.split(voiced, np.flatnonzero(np.diff(voiced) > PAUSE_FRAMES) + 1)
    return [(int(part[0]), int(part[-1]) + 1) for part in parts]
