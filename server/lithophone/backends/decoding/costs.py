"""What a pass of the language model costs on this machine, and how much may be risked on drafts.

Both are learned from every pass: one reading of the clock may be wrong, and the same machine is slower in company of other
programs. Pure: no torch, no model, no clock. All of it changes speed alone, never a token.
"""

from __future__ import annotations

import math
from typing import Final, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

KNOTS: Final = np.asarray([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096])
"""Lengths of passes, in tokens, at which the cost is kept; between them it is a straight line."""

LEAST_RATE: Final = 0.1  # of a new reading, once a knot has many: about the last ten count
MOST_SURPRISE: Final = math.log(1.5)  # of a reading against many before it: the machine was busy for a moment
KNOWN_READINGS: Final = 4.0  # from here on, a reading can be a surprise
KEPT: Final = (
    0.998  # of what is known of a knot, with each reading elsewhere: it is read again after some 350 passes
)

RISKED_SHARE: Final = 0.04  # of the time plain decoding takes
FIRST_PASSES: Final = 2.0  # that may be risked before anything is known
MOST_PASSES: Final = 6.0  # of what drafts have saved, that may be risked again


class Cost(Protocol):
    """Time of a pass by its tokens, in any unit."""

    def __call__(self, tokens: int) -> float:
        """Cost of a pass over `tokens`."""
        ...

    def of(self, tokens: NDArray[np.int64]) -> NDArray[np.float64]:
        """Cost of passes over so many tokens each."""
        ...

    def knows(self, tokens: int) -> bool:
        """Whether a pass of about that length was timed, not too long ago."""
        ...

    def observe(self, tokens: int, seconds: float) -> None:
        """Learn that a pass over `tokens` took so long."""
        ...


class CostCurve(msgspec.Struct, frozen=True):
    """A cost that does not learn: straight lines between the points and on.

    The default is a 2B model's on a CPU with fast matrix units, where a pass is bound by reading the weights.
    """

    tokens: tuple[int, ...] = (1, 8, 32)
    times: tuple[float, ...] = (1.0, 1.05, 1.7)

    def __call__(self, tokens: int) -> float:
        """See `Cost`."""
        return float(self.of(np.asarray(tokens)))

    def of(self, tokens: NDArray[np.int64]) -> NDArray[np.float64]:
        """See `Cost`."""
        return _on_the_line(tokens, np.asarray(self.tokens), np.asarray(self.times))

    def knows(self, tokens: int) -> bool:  # noqa: ARG002 - it knows all
        """See `Cost`."""
        return True

    def observe(self, tokens: int, seconds: float) -> None:
        """See `Cost`."""


class LearnedCost:
    """A cost that follows the clock.

    At each knot the ratio to the expectation is kept; a knot of which nothing is known has its neighbours' ratio.

    Args:
        expected: Before anything is known; only its shape matters.
    """

    def __init__(self, expected: CostCurve | None = None) -> None:
        self._expected = (expected or CostCurve()).of(KNOTS)
        self._log_ratios = np.zeros(len(KNOTS))
        self._readings = np.zeros(len(KNOTS))
        self._times = self._expected

    def __call__(self, tokens: int) -> float:
        """See `Cost`."""
        return float(self.of(np.asarray(tokens)))

    def of(self, tokens: NDArray[np.int64]) -> NDArray[np.float64]:
        """See `Cost`."""
        return _on_the_line(tokens, KNOTS, self._times)

    def knows(self, tokens: int) -> bool:
        """See `Cost`."""
        return max(self._readings[knot] for knot, _ in _shares(tokens)) >= 0.5

    def observe(self, tokens: int, seconds: float) -> None:
        """See `Cost`. A pass between two knots says most about the nearer one."""
        surprise = math.log(seconds / self(tokens))
        self._readings *= KEPT
        for knot, share in _shares(tokens):
            self._learn(knot, share, surprise)
        self._times = np.maximum.accumulate(self._expected * np.exp(self._filled()))

    def _learn(self, knot: int, share: float, surprise: float) -> None:
        known = self._readings[knot] >= KNOWN_READINGS
        believed = float(np.clip(surprise, -MOST_SURPRISE, MOST_SURPRISE)) if known else surprise
        self._log_ratios[knot] = math.log(self._times[knot] / self._expected[knot])
        self._readings[knot] += share
        self._log_ratios[knot] += max(share / self._readings[knot], LEAST_RATE * share) * believed

    def _filled(self) -> NDArray[np.float64]:
        """The log ratio of every knot."""
        seen = np.flatnonzero(self._readings)
        return np.interp(np.arange(len(KNOTS)), seen, self._log_ratios[seen])


def _shares(tokens: int) -> list[tuple[int, float]]:
    """The knots around a length, and how near each is, on a logarithmic scale."""
    place = float(np.interp(math.log2(tokens), np.log2(KNOTS), np.arange(len(KNOTS))))
    left = int(place)
    shares = [(left, 1 - (place - left)), (left + 1, place - left)]
    return [(knot, share) for knot, share in shares if share > 0]


def _on_the_line(
    tokens: NDArray[np.int64], knots: NDArray[np.int64], times: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Straight lines between the points, and the last one on."""
    slope = (times[-1] - times[-2]) / (knots[-1] - knots[-2])
    return np.interp(tokens, knots, times) + np.maximum(tokens - knots[-1], 0) * slope


class DraftBudget:
    """How much more a pass may cost for its drafts.

    Counted in passes without drafts. Drafts earn what they save and pay what they cost; beside it a small share of all plain
    work may be lost on trying. So decoding is never slower than without drafts by more than that share, whatever the
    drafts are worth.
    """

    def __init__(self) -> None:
        self._balance = FIRST_PASSES

    @property
    def passes(self) -> float:
        """What may be risked now."""
        return max(0.0, self._balance)

    def settle(self, plain: float, extra: float, saved: float) -> None:
        """A pass would have cost `plain`, did cost `extra` more for its drafts, and saved `saved`; all in passes."""
        self._balance = min(MOST_PASSES, self._balance + RISKED_SHARE * plain + saved - extra)
