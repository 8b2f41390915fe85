from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithophone.backends.decoding.costs import CostCurve
from lithophone.backends.decoding.speculation import (
    LEAST_EXPECTED,
    TRANSCRIPT_EXPECTED,
    Acceptance,
    Offer,
    Source,
    Speculator,
    draft_lengths,
)

OFFERS = st.lists(st.builds(Offer, st.integers(0, 60), st.floats(0.0, 0.999)), min_size=1, max_size=16)
FREE = CostCurve((1, 8, 32), (1.0, 1.0, 1.0))
DEAR = CostCurve((1, 2, 3), (1.0, 2.0, 3.0))


class Fixed:
    """A draft that says the same whatever happens."""

    def __init__(self, tokens: list[int]) -> None:
        self.tokens = tokens
        self.heard: list[int] = []

    def propose(self) -> list[int]:
        return self.tokens

    def observe(self, emitted: object) -> None:
        self.heard += emitted  # type: ignore[operator]


@given(OFFERS, st.integers(1, 2000))
def test_no_row_drafts_more_than_it_has(offers: list[Offer], base: int) -> None:
    lengths = draft_lengths(offers, base, CostCurve())
    assert all(0 <= length <= offer.available for length, offer in zip(lengths, offers, strict=True))


@given(available=st.integers(0, 60), rate=st.floats(0.01, 0.99), better=st.floats(0.0, 0.009))
def test_a_likelier_draft_is_never_cut_shorter(available: int, rate: float, better: float) -> None:
    cost = CostCurve()
    shorter = draft_lengths([Offer(available, rate)], 1, cost)
    assert draft_lengths([Offer(available, rate + better)], 1, cost) >= shorter


def test_a_draft_that_is_never_right_is_not_tried_where_tokens_cost_time() -> None:
    assert draft_lengths([Offer(20, 0.0)], 1, CostCurve()) == [0]
    assert draft_lengths([Offer(20, 0.9)] * 3, 3, DEAR) == [0, 0, 0]


def test_a_draft_is_taken_whole_where_tokens_are_free() -> None:
    assert draft_lengths([Offer(20, 0.5)], 1, FREE) == [20] or draft_lengths([Offer(20, 0.5)], 1, FREE) == [
        20
    ]


def test_the_more_rows_share_a_pass_the_less_is_drafted() -> None:
    alone = draft_lengths([Offer(30, 0.9)], 1, CostCurve())[0]
    crowd = draft_lengths([Offer(30, 0.9)] * 16, 16, CostCurve())
    assert max(crowd) < alone


def test_acceptance_follows_what_happens() -> None:
    acceptance = Acceptance(0.9)
    for _ in range(20):
        acceptance.observe(8, 0)
    assert acceptance.rate < 0.2
    for _ in range(20):
        acceptance.observe(8, 8)
    assert acceptance.rate > 0.9


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 30)), max_size=30))
def test_acceptance_stays_a_probability(history: list[tuple[int, int]]) -> None:
    acceptance = Acceptance(0.5)
    for drafted, accepted in history:
        acceptance.observe(drafted, min(drafted, accepted))
        assert 0.0 < acceptance.rate < 1.0


def test_the_source_that_does_better_is_asked() -> None:
    poor, good = Fixed([1]), Fixed([2])
    overall = Acceptance(0.9)
    speculator = Speculator([Source(poor, 0.9, overall), Source(good, 0.5)])
    assert speculator.propose() == [1]
    for _ in range(8):
        if speculator.propose() == [2]:
            break
        speculator.observe([7], drafted=1, accepted=0)
    assert speculator.propose() == [2]
    assert overall.rate < 0.9
    assert poor.heard == good.heard


def test_without_a_guess_there_is_no_rate() -> None:
    speculator = Speculator([Source(Fixed([]), 0.9)])
    assert list(speculator.propose()) == []
    assert speculator.rate == 0.0


@pytest.mark.parametrize("rows", [1, 4, 16])
@pytest.mark.parametrize(
    "cost",
    [CostCurve(), FREE, DEAR, CostCurve((1, 8, 32), (1.0, 2.5, 4.6)), CostCurve((1, 8, 32), (1.0, 5.0, 7.6))],
)
def test_hopeless_drafts_cost_next_to_nothing(cost: CostCurve, rows: int) -> None:
    """By the cost of the passes alone, over transcripts of 100 tokens behind prompts of 360; also the very first one."""
    overall = Acceptance(TRANSCRIPT_EXPECTED)
    plain = cost(360 * rows) + 99 * cost(rows)
    for _ in range(3):
        rates = [Acceptance(max(LEAST_EXPECTED, overall.rate)) for _ in range(rows)]
        spent = 0.0
        for step in range(100):
            base = rows if step else 360 * rows
            lengths = draft_lengths([Offer(99 - step, rate.rate) for rate in rates], base, cost)
            spent += cost(base + sum(lengths))
            for rate, length in zip(rates, lengths, strict=True):
                if length:
                    rate.observe(length, 0)
                    overall.observe(length, 0)
        assert spent < 1.06 * plain


def test_a_step_in_the_cost_does_not_hide_the_cheap_tokens_behind_it() -> None:
    """Where the second token of a pass costs as much as a pass, and the next twenty nothing."""
    assert draft_lengths([Offer(30, 0.95)], 1, CostCurve((1, 2, 32), (1.0, 2.0, 2.0))) == [30]
