from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithophone.bench.ways import SimulatedDraft, corrupted

TOKENS = st.lists(st.integers(0, 499), max_size=60)


@given(TOKENS, st.floats(0, 1), st.integers(0, 1000))
def test_a_corrupted_draft_keeps_length_and_vocabulary(tokens: list[int], accuracy: float, seed: int) -> None:
    draft = corrupted(tokens, accuracy, 500, seed)
    assert len(draft) == len(tokens)
    assert all(0 <= token < 500 for token in draft)
    assert draft == corrupted(tokens, accuracy, 500, seed)


@given(TOKENS, st.integers(0, 1000))
def test_certain_drafts_are_right_and_hopeless_ones_wrong_everywhere(tokens: list[int], seed: int) -> None:
    assert corrupted(tokens, 1.0, 500, seed) == tokens
    assert all(a != b for a, b in zip(corrupted(tokens, 0.0, 500, seed), tokens, strict=True))


@pytest.mark.parametrize("accuracy", [0.98, 0.95, 0.9, 0.5])
def test_errors_come_at_the_stated_rate(accuracy: float) -> None:
    said = list(range(20_000))
    draft = corrupted(said, accuracy, 50_000, seed=3)
    right = sum(a == b for a, b in zip(draft, said, strict=True)) / len(said)
    assert right == pytest.approx(accuracy, abs=0.01)


def test_a_simulated_draft_is_in_step_again_behind_an_error() -> None:
    draft = SimulatedDraft([1, 2, 3, 4])
    draft.observe([1, 9])
    assert list(draft.propose()) == [3, 4]
    draft.observe([3, 4, 5])
    assert list(draft.propose()) == []
