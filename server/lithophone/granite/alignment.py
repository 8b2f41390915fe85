"""Which frames of a CTC head's output belong to which label of a known sequence.

Owns forced alignment: the Viterbi path over labels with blanks between them (Graves 2006). Pure numpy: no torch, no
model, no audio. What a label means is `labels`' and `words`' matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lithophone.granite.labels import BLANK

LogProbs = NDArray[np.float32]
"""Natural-log probabilities of a CTC head, float32 [frames, labels]."""

ANYTHING: Final = -1
"""In place of a label: sound of any kind."""

LEAST_LOG_PROB: Final = np.float32(-1e4)  # in place of minus infinity, so that a sum over frames stays finite


class FrameSpan(NamedTuple):
    """The frames of one label, `start` up to and without `stop`, and their mean log-probability."""

    start: int
    stop: int
    score: float


def align(log_probs: LogProbs, labels: Sequence[int]) -> list[FrameSpan] | None:
    """The likeliest frames of each label, or `None` where the labels do not fit into the frames.

    Args:
        log_probs: float32 [frames, labels].
        labels: Label ids without blanks; `ANYTHING` takes frames at the price of their likeliest label.

    Returns:
        One span for each label, in order, none empty, none overlapping.
    """
    if not labels:
        return []
    emissions = _emissions(log_probs, labels)
    repeats = np.array([later == earlier for earlier, later in pairwise(labels)], bool)
    if len(labels) + int(repeats.sum()) > len(log_probs):
        return None
    path = _viterbi(emissions, repeats)
    return [_span(path, emissions, index) for index in range(len(labels))]


def _emissions(log_probs: LogProbs, labels: Sequence[int]) -> LogProbs:
    """[frames, 2 x labels + 1]: blank, label, blank, label, … blank."""
    ids = np.asarray(labels)
    emissions = np.empty((len(log_probs), 2 * len(labels) + 1), np.float32)
    emissions[:, 0::2] = log_probs[:, BLANK, None]
    emissions[:, 1::2] = log_probs[:, np.maximum(ids, 0)]
    anything = np.flatnonzero(ids == ANYTHING)
    if len(anything):
        emissions[:, 2 * anything + 1] = log_probs.max(axis=1, keepdims=True)
    return np.maximum(emissions, LEAST_LOG_PROB)


def _viterbi(emissions: LogProbs, repeats: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The state of each frame on the best path [frames]. A repeated label needs the blank between."""
    frames, states = emissions.shape
    skip = np.full(states, -np.inf, np.float32)
    skip[3::2] = np.where(repeats, -np.inf, 0)
    scores = np.full((frames, states + 2), -np.inf, np.float32)  # two columns before the first state
    scores[0, 2:4] = emissions[0, :2]
    room = np.empty(states, np.float32)
    for frame in range(1, frames):
        before, now = scores[frame - 1], scores[frame, 2:]
        np.maximum(before[2:], before[1:-1], out=now)
        np.add(before[:-2], skip, out=room)
        np.maximum(now, room, out=now)
        now += emissions[frame]
    return _trace(scores, skip)


def _trace(scores: LogProbs, skip: LogProbs) -> NDArray[np.int64]:
    """Back from the better of the two last states."""
    frames, columns = scores.shape
    state = columns - 3 if scores[-1, -1] >= scores[-1, -2] else columns - 4
    path = np.empty(frames, np.int64)
    for frame in range(frames - 1, 0, -1):
        path[frame] = state
        stay, step, jump = (
            scores[frame - 1, state + 2],
            scores[frame - 1, state + 1],
            scores[frame - 1, state],
        )
        jump = jump + skip[state]
        if stay < step or stay < jump:
            state -= 1 if step >= jump else 2
    path[0] = state
    return path


def _span(path: NDArray[np.int64], emissions: LogProbs, index: int) -> FrameSpan:
    state = 2 * index + 1
    start, stop = np.searchsorted(path, [state, state + 1])  # the path never goes back
    return FrameSpan(int(start), int(stop), float(emissions[start:stop, state].mean()))
