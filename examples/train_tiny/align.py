"""Word times by forced alignment with a CTC head (Viterbi over blank-separated labels)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .vocabulary import ctc_labels

FRAME_SECONDS = 0.02


def best_path(log_probs: np.ndarray, labels: list[int]) -> np.ndarray | None:
    """For every frame the index of the label it belongs to, or -1 for blank; None if the labels do not fit."""
    frames = len(log_probs)
    states = np.zeros(2 * len(labels) + 1, dtype=int)
    states[1::2] = labels
    skip = np.zeros(len(states), dtype=bool)
    skip[3::2] = states[3::2] != states[1:-2:2]
    score = np.full(len(states), -np.inf)
    score[:2] = log_probs[0, states[:2]]
    moves = np.zeros((frames, len(states)), dtype=np.int8)
    for frame in range(1, frames):
        one = np.concatenate(([-np.inf], score[:-1]))
        two = np.where(skip, np.concatenate(([-np.inf, -np.inf], score[:-2])), -np.inf)
        choices = np.stack((score, one, two))
        moves[frame] = choices.argmax(0)
        score = choices.max(0) + log_probs[frame, states]
    state = len(states) - 1 if score[-1] >= score[-2] else len(states) - 2
    if not np.isfinite(score[state]):
        return None
    path = np.empty(frames, dtype=int)
    for frame in range(frames - 1, -1, -1):
        path[frame] = state
        state -= int(moves[frame, state])
    return np.where(path % 2 == 1, path // 2, -1)


def unit_times(
    log_probs: Tensor, units: list[list[int]], between: list[int], frame_seconds: float
) -> list[tuple[float, float]] | None:
    """(start, end) seconds of each unit of labels: from its first label's first frame to its last one's last.

    `between` are the labels that stand between two units. None if the labels do not fit.
    """
    labels = [label for unit in units for label in (*unit, *between)][: -len(between) or None]
    path = best_path(log_probs.float().numpy(), labels)
    if path is None:
        return None
    times, begin = [], 0
    for unit in units:
        frames = np.flatnonzero((path >= begin) & (path < begin + len(unit)))
        if not len(frames):
            return None
        times.append((float(frames[0]) * frame_seconds, float(frames[-1] + 1) * frame_seconds))
        begin += len(unit) + len(between)
    return times


def word_times(log_probs: Tensor, text: str) -> list[tuple[float, float]] | None:
    """(start, end) seconds of each word of a text under the character head."""
    words = [ctc_labels(word) for word in text.split()]
    return unit_times(log_probs, words, ctc_labels(" "), FRAME_SECONDS)


def batches(lengths: list[int], frames: int, block: int, guard: int) -> list[list[int]]:
    """Indices grouped so that each group fits one pack of `frames`."""
    groups: list[list[int]] = [[]]
    used = 0
    for index, length in enumerate(lengths):
        size = -(-(length + guard) // block) * block
        if used + size > frames and groups[-1]:
            groups.append([])
            used = 0
        groups[-1].append(index)
        used += size
    return groups


def pack_features(
    rows: list[Tensor], frames: int, block: int, guard: int
) -> tuple[Tensor, Tensor, list[int]]:
    """Rows laid out in one pack: features, mask and the start of each."""
    features, mask = torch.zeros(frames, rows[0].shape[1]), torch.zeros(frames)
    starts, used = [], 0
    for row in rows:
        features[used : used + len(row)] = row
        mask[used : used + len(row)] = 1
        starts.append(used)
        used += -(-(len(row) + guard) // block) * block
    return features, mask, starts
