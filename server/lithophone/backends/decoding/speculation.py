"""How much to draft: decided from how well drafts did and what a longer pass costs.

Pure: no torch, no model, no clock. Owns the running estimate of acceptance and the choice of draft lengths. All of it
changes speed alone, never a token.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from lithophone.backends.decoding.costs import Cost
from lithophone.granite.drafts import Draft

FORGETTING = 0.97  # of past verdicts with each new one: about the last 30 tokens count
PRIOR_VERDICTS = 4.0  # how many verdicts the expectation at the start is worth
LEAST_EXPECTED = 0.25  # at a transcript's start: its audio may suit the CTC head better than the last one's
TRANSCRIPT_EXPECTED = 0.9
REPETITION_EXPECTED = 0.4


class Acceptance:
    """Running estimate of the chance that the model agrees with the next drafted token."""

    def __init__(self, expected: float) -> None:
        self._hits = PRIOR_VERDICTS * expected
        self._verdicts = PRIOR_VERDICTS

    @property
    def rate(self) -> float:
        """The estimate, strictly between 0 and 1."""
        return self._hits / self._verdicts

    def observe(self, drafted: int, accepted: int) -> None:
        """Learn from one verification: what follows the first refusal was never judged."""
        verdicts = min(accepted + 1, drafted)
        keep = FORGETTING**verdicts
        self._hits = self._hits * keep + accepted
        self._verdicts = self._verdicts * keep + verdicts


class Source:
    """A draft and how well it does.

    Args:
        draft: Where guesses come from.
        expected: How often it is right, before it has been tried.
        overall: Learns from this draft too, for those that come after it.
    """

    def __init__(self, draft: Draft, expected: float, overall: Acceptance | None = None) -> None:
        self.draft = draft
        self.acceptance = Acceptance(expected)
        self._overall = overall

    def judge(self, drafted: int, accepted: int) -> None:
        """Learn from one verification."""
        self.acceptance.observe(drafted, accepted)
        if self._overall is not None:
            self._overall.observe(drafted, accepted)


class Speculator:
    """The sources of drafts for one transcript."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        self._chosen: Source | None = None

    def propose(self) -> Sequence[int]:
        """The guess of the best source that has one."""
        offers = [(source, tokens) for source in self._sources if (tokens := source.draft.propose())]
        if not offers:
            self._chosen = None
            return ()
        self._chosen, proposed = max(offers, key=lambda offer: offer[0].acceptance.rate)
        return proposed

    @property
    def rate(self) -> float:
        """Estimated acceptance of what was proposed last."""
        return self._chosen.acceptance.rate if self._chosen else 0.0

    def observe(self, emitted: Sequence[int], drafted: int, accepted: int) -> None:
        """Hear what became of the first `drafted` tokens of the proposal, and all that was said."""
        if self._chosen is not None and drafted > 0:
            self._chosen.judge(drafted, accepted)
        for source in self._sources:
            source.draft.observe(emitted)


class Offer(msgspec.Struct, frozen=True):
    """What one row would have verified: how many tokens, and the chance of each."""

    available: int
    rate: float


def draft_lengths(
    offers: Sequence[Offer], base_tokens: int, cost: Cost, most_passes: float = math.inf
) -> list[int]:
    """How many drafted tokens each row takes into the next pass.

    A token at depth k is reached and accepted with probability rate**k, and then saves its share of a plain pass over
    all rows. Row by row the length is taken at which what is saved exceeds most what the pass becomes dearer by: not the
    first at which one token more would not pay, because on some machines the second token costs more than the next
    twenty.

    Args:
        offers: One for each row of the batch.
        base_tokens: Tokens the pass has without any draft: one a row, or a whole prompt.
        cost: Of a pass.
        most_passes: What all drafts together may add to the pass, in passes without drafts.
    """
    rows = max(len(offers), 1)
    pass_cost = cost(rows)
    most = cost(base_tokens) + most_passes * pass_cost
    total = base_tokens
    lengths: list[int] = []
    for offer in offers:
        length = _best_length(offer, pass_cost / rows, total, cost, most)
        total += length
        lengths.append(length)
    return lengths


def _best_length(offer: Offer, worth: float, total: int, cost: Cost, most: float) -> int:
    if offer.available == 0:
        return 0
    depths = np.arange(offer.available + 1)
    costs = cost.of(total + depths)
    plain, costs = costs[0], costs[1:]
    gains = worth * np.cumsum(offer.rate ** depths[1:]) - (costs - plain)
    gains[costs > most] = -math.inf
    best = int(gains.argmax())
    return best + 1 if gains[best] > 0 else 0
