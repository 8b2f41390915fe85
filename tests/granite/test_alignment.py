from __future__ import annotations

import time

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lithophone.granite.alignment import ANYTHING, LogProbs, align
from lithophone.granite.labels import BLANK

LABELS = 6


def random_log_probs(frames: int, seed: int, labels: int = LABELS) -> LogProbs:
    rows = np.random.default_rng(seed).dirichlet(np.full(labels, 0.3), frames)
    return np.log(rows + 1e-9).astype(np.float32)


def log_probs_of(path: list[int], labels: int = LABELS) -> LogProbs:
    """A head that is nearly sure of `path`."""
    rows = np.full((len(path), labels), 0.01)
    rows[np.arange(len(path)), path] = 1 - 0.01 * (labels - 1)
    return np.log(rows).astype(np.float32)


def path_score(log_probs: LogProbs, path: tuple[int, ...]) -> float:
    return float(sum(log_probs[frame, label] for frame, label in enumerate(path)))


def all_paths(labels: list[int], frames: int) -> set[tuple[int, ...]]:
    """Every frame sequence that collapses to `labels`, by brute force."""
    states = [BLANK, *(value for label in labels for value in (label, BLANK))]
    found: set[tuple[int, ...]] = set()

    def walk(prefix: tuple[int, ...], state: int) -> None:
        if len(prefix) == frames:
            if state >= len(states) - 2:
                found.add(prefix)
            return
        steps = [state, state + 1]
        if state + 2 < len(states) and states[state + 2] not in (BLANK, states[state]):
            steps.append(state + 2)
        for step in steps:
            if step < len(states):
                walk((*prefix, states[step]), step)

    walk((BLANK,), 0)
    walk((states[1],), 1)
    return found


@given(st.lists(st.integers(1, LABELS - 1), min_size=1, max_size=3), st.integers(1, 7), st.integers(0, 999))
def test_no_path_is_likelier_than_the_one_found(labels: list[int], frames: int, seed: int) -> None:
    log_probs = random_log_probs(frames, seed)
    spans = align(log_probs, labels)
    paths = all_paths(labels, frames)
    assert (spans is None) == (not paths)
    if spans is None:
        return
    found = [BLANK] * frames
    for label, span in zip(labels, spans, strict=True):
        found[span.start : span.stop] = [label] * (span.stop - span.start)
    assert tuple(found) in paths
    assert path_score(log_probs, tuple(found)) >= max(path_score(log_probs, path) for path in paths) - 1e-3


@given(st.lists(st.integers(1, LABELS - 1), max_size=30), st.integers(0, 80), st.integers(0, 999))
def test_spans_are_in_order_and_none_is_empty(labels: list[int], frames: int, seed: int) -> None:
    spans = align(random_log_probs(frames, seed), labels)
    if spans is None:
        assert frames < 2 * len(labels)
        return
    bounds = [bound for span in spans for bound in (span.start, span.stop)]
    assert bounds == sorted(bounds)
    assert all(0 <= span.start < span.stop <= frames for span in spans)


def test_a_sure_head_gets_its_own_frames_back() -> None:
    spans = align(log_probs_of([0, 3, 3, 0, 0, 3, 0, 5, 5]), [3, 3, 5])
    assert spans is not None
    assert [(span.start, span.stop) for span in spans] == [(1, 3), (5, 6), (7, 9)]


def test_anything_takes_what_lies_between_its_neighbours() -> None:
    spans = align(log_probs_of([0, 1, 4, 2, 0, 3, 4, 5, 0]), [1, ANYTHING, 5])
    assert spans is not None
    assert [(span.start, span.stop) for span in spans] == [(1, 2), (2, 7), (7, 8)]


def test_half_a_minute_of_fast_speech_takes_a_moment() -> None:
    labels = np.random.default_rng(0).integers(97, 122, 450).tolist()
    log_probs = random_log_probs(1500, 0, 348)
    started = time.process_time()
    assert align(log_probs, labels) is not None
    assert time.process_time() - started < 0.5  # 0.03 on one idle core
