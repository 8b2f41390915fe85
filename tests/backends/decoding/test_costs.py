"""What a pass costs is learned from every pass, and drafts never cost more than a small share of plain decoding."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithophone.backends.decoding.costs import (
    FIRST_PASSES,
    KNOTS,
    MOST_PASSES,
    RISKED_SHARE,
    CostCurve,
    DraftBudget,
    LearnedCost,
)
from lithophone.backends.decoding.speculation import LEAST_EXPECTED, Acceptance, Offer, draft_lengths

lengths = st.integers(1, 5000)
seconds = st.floats(1e-5, 100.0)
MACHINES = {  # seconds of a pass by its tokens
    "memory bound": CostCurve((1, 32, 512), (0.4, 0.42, 1.2)),
    "compute bound": CostCurve((1, 2, 3), (0.1, 0.2, 0.3)),
    "a step at the second token": CostCurve((1, 2, 32), (0.4, 0.9, 1.0)),
    "dear in company": CostCurve((1, 4, 8, 89), (0.36, 0.38, 0.4, 1.4)),
}


def chosen_lengths(offers: list[Offer], base: int, cost: LearnedCost, budget: DraftBudget) -> list[int]:
    """As the loop chooses."""
    if base == len(offers) and not cost.knows(base):
        return [0] * len(offers)
    return draft_lengths(offers, base, cost, budget.passes)


@given(st.lists(st.tuples(lengths, seconds), max_size=40), lengths, lengths)
def test_a_longer_pass_never_costs_less(readings: list[tuple[int, float]], one: int, other: int) -> None:
    cost = LearnedCost()
    for tokens, took in readings:
        cost.observe(tokens, took)
    short, long = sorted((one, other))
    assert 0 < cost(short) <= cost(long) * (1 + 1e-9)
    assert list(cost.of(np.asarray([short, long]))) == [cost(short), cost(long)]


@pytest.mark.parametrize("machine", MACHINES)
def test_what_is_seen_often_is_known(machine: str) -> None:
    true, cost, rng = MACHINES[machine], LearnedCost(), np.random.default_rng(1)
    for _ in range(600):
        tokens = int(rng.choice((1, 4, 29, 89, 360)))
        cost.observe(tokens, true(tokens) * rng.uniform(0.9, 1.1))
    for tokens in (1, 4, 89, 360):
        assert cost(tokens) == pytest.approx(true(tokens), rel=0.25)


def test_of_what_was_never_seen_the_shape_is_expected() -> None:
    cost = LearnedCost()
    cost.observe(1, 0.2)
    expected = CostCurve()
    assert cost(32) == pytest.approx(0.2 * expected(32))
    assert cost(4096) == pytest.approx(0.2 * expected(4096))


def test_what_was_not_timed_for_long_is_timed_again() -> None:
    cost = LearnedCost()
    assert not cost.knows(4)
    cost.observe(4, 0.1)
    assert cost.knows(4)
    assert not cost.knows(32)
    for _ in range(400):
        cost.observe(32, 0.1)
    assert not cost.knows(4)


def test_one_busy_moment_is_forgotten() -> None:
    cost = LearnedCost()
    for _ in range(20):
        cost.observe(1, 0.1)
    cost.observe(1, 5.0)
    assert cost(1) < 0.11


def test_a_machine_that_became_slower_is_believed_in_the_end() -> None:
    cost = LearnedCost()
    for _ in range(50):
        cost.observe(8, 0.1)
    for _ in range(60):
        cost.observe(8, 0.3)
    assert cost(8) == pytest.approx(0.3, rel=0.1)


def test_all_knots_are_lengths_of_passes() -> None:
    assert list(KNOTS) == sorted(set(KNOTS))
    assert KNOTS[0] == 1


@given(st.lists(st.tuples(st.floats(1.0, 9.0), st.floats(0.0, 9.0), st.floats(0.0, 9.0))))
def test_no_more_is_lost_than_a_share_of_the_plain_work(passes: list[tuple[float, float, float]]) -> None:
    budget, plain_work, lost = DraftBudget(), 0.0, 0.0
    for plain, extra, saved in passes:
        risked = min(extra, budget.passes)
        budget.settle(plain, risked, saved)
        plain_work += plain
        lost += risked - saved
        assert 0 <= budget.passes <= MOST_PASSES
        assert lost <= FIRST_PASSES + RISKED_SHARE * plain_work + 1e-9


@pytest.mark.parametrize("rows", [1, 4, 16])
@pytest.mark.parametrize("machine", MACHINES)
def test_hopeless_drafts_that_are_expected_to_be_good_cost_little(machine: str, rows: int) -> None:
    """Transcripts of 100 tokens behind prompts of 360, with a clock that is wrong at first."""
    true, cost, budget = MACHINES[machine], LearnedCost(), DraftBudget()
    spent = plain = 0.0
    for _ in range(3):
        rates = [Acceptance(0.9) for _ in range(rows)]
        for step in range(100):
            base = rows if step else 360 * rows
            offers = [Offer(99 - step, rate.rate) for rate in rates]
            chosen = chosen_lengths(offers, base, cost, budget)
            took = true(base + sum(chosen))
            cost.observe(base + sum(chosen), took)
            budget.settle(cost(base) / cost(rows), (cost(base + sum(chosen)) - cost(base)) / cost(rows), 0.0)
            for rate, length in zip(rates, chosen, strict=True):
                if length:
                    rate.observe(length, 0)
            spent, plain = spent + took, plain + true(base)
    assert spent < 1.08 * plain


@pytest.mark.parametrize("rows", [1, 4])
def test_good_drafts_are_taken_soon(rows: int) -> None:
    """Where 95 of 100 tokens are right, a transcript of 100 takes few passes, from the second one on."""
    true, cost, budget, rng = (
        MACHINES["dear in company"],
        LearnedCost(),
        DraftBudget(),
        np.random.default_rng(1),
    )
    overall, passes = Acceptance(0.9), 0
    for _ in range(3):
        rates = [Acceptance(max(LEAST_EXPECTED, overall.rate)) for _ in range(rows)]
        left, passes, base = [100] * rows, 0, 360 * rows
        while any(left):
            offers = [Offer(max(0, n - 1), r.rate) for n, r in zip(left, rates, strict=True)]
            chosen = chosen_lengths(offers, base, cost, budget)
            took = true(base + sum(chosen))
            cost.observe(base + sum(chosen), took)
            accepted = [next((i for i in range(n) if rng.random() > 0.95), n) for n in chosen]
            extra = (cost(base + sum(chosen)) - cost(base)) / cost(rows)
            budget.settle(cost(base) / cost(rows), extra, sum(accepted) / rows)
            for place, (rate, length, right) in enumerate(zip(rates, chosen, accepted, strict=True)):
                if length:
                    rate.observe(length, right)
                    overall.observe(length, right)
                left[place] = max(0, left[place] - right - 1)
            passes, base = passes + 1, rows
    assert passes <= 16
