"""The labels of Granite's grapheme CTC head, and what its probabilities say.

Pure numpy. Label 0 is the blank; 32-255 are the characters of that code; 256-347 are katakana from U+30A1 on
(348-label heads). Source: the heads of the 3.3 and 4.x checkpoints.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

BLANK = 0
FIRST_CHARACTER = 32
FIRST_KATAKANA = 256
KATAKANA_BASE = 0x30A1


def label_text(label: int) -> str:
    """The character of a label; nothing for the blank and the unused codes below the space."""
    if label >= FIRST_KATAKANA:
        return chr(KATAKANA_BASE + label - FIRST_KATAKANA)
    return chr(label) if label >= FIRST_CHARACTER else ""


def greedy_text(labels: Iterable[int]) -> str:
    """Best-path decoding (Graves 2006): runs of one label collapse to one, blanks vanish."""
    return "".join(label_text(label) for label, _ in groupby(labels)).strip()


def empty_probability(blank_log_probs: NDArray[np.float32]) -> float:
    """Probability that CTC emits nothing at all.

    Args:
        blank_log_probs: Natural log of the blank's probability in each frame, float32 [frames].

    Returns:
        The product of the blank's probabilities: the only path without a label.
    """
    return float(np.exp(blank_log_probs.sum(dtype=np.float64)))
