"""How far a transcript is from what was said.

Owns the alignment of two sequences of timed words and the counts on it. The alignment is the one of NIST's `asclite`:
fewest word errors, no two words matched that are far apart in time, and of equally good alignments the one that is closest
in time. Pure.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, NamedTuple, Protocol

import numpy as np

SLACK_SECONDS: Final = 10.0
DISTANCE_COST_PER_SECOND: Final = 1e-3  # decides between alignments with equally many errors alone


class TimedWord(Protocol):
    """What is aligned."""

    @property
    def text(self) -> str: ...

    @property
    def middle(self) -> float: ...


class Pair(NamedTuple):
    """A reference word and what was heard for it: two indexes, one `None` for a word lost or added."""

    reference: int | None
    hypothesis: int | None


@dataclass(frozen=True, slots=True)
class Errors:
    """Counts of word errors."""

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    words: int = 0

    def __add__(self, other: Errors) -> Errors:
        return Errors(
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
            self.words + other.words,
        )

    @property
    def total(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def percent(self) -> float:
        """Word error rate."""
        return 100 * self.total / self.words if self.words else 0.0

    def __str__(self) -> str:
        return (
            f"{self.percent:.2f} % ({self.total} of {self.words} words: "
            f"{self.substitutions} wrong, {self.deletions} lost, {self.insertions} added)"
        )


def normalised(text: str) -> list[str]:
    """Words in small letters without punctuation; apostrophes stay."""
    return "".join(c if c.isalnum() or c == "'" else " " for c in text.casefold()).split()


def align(
    reference: Sequence[TimedWord], hypothesis: Sequence[TimedWord], slack_seconds: float = SLACK_SECONDS
) -> list[Pair]:
    """Pairs in order; words are matched only if their middles are within `slack_seconds`."""
    rows = _rows(reference, hypothesis, slack_seconds)
    pairs: list[Pair] = []
    said, heard = len(reference), len(hypothesis)
    while said or heard:
        cost = rows[said].cost(heard)
        if heard and rows[said].cost(heard - 1) + 1 == cost:
            heard -= 1
            pairs.append(Pair(None, heard))
        elif said and rows[said - 1].cost(heard) + 1 == cost:
            said -= 1
            pairs.append(Pair(said, None))
        else:
            said, heard = said - 1, heard - 1
            pairs.append(Pair(said, heard))
    return pairs[::-1]


@dataclass(frozen=True, slots=True)
class _Row:
    """Costs of the best alignment of the first so many words said with the first `low`, `low` + 1, ... heard."""

    low: int
    costs: array[float]

    def cost(self, heard: int) -> float:
        place = heard - self.low
        return self.costs[place] if 0 <= place < len(self.costs) else math.inf


def _rows(
    reference: Sequence[TimedWord], hypothesis: Sequence[TimedWord], slack_seconds: float
) -> list[_Row]:
    said = list(accumulate((word.middle for word in reference), max))
    heard = list(accumulate((word.middle for word in hypothesis), max))
    lows = [0, *(bisect_left(heard, middle - slack_seconds) for middle in said)]
    highs = [*(bisect_right(heard, middle + slack_seconds) for middle in said), len(heard)]
    rows = [_Row(0, array("d", range(highs[0] + 1)))]
    for place, word in enumerate(reference, start=1):
        before, row = rows[-1], _Row(lows[place], array("d"))
        for column in range(lows[place], highs[place] + 1):
            matched = before.cost(column - 1) + _match_cost(word, hypothesis, column - 1, slack_seconds)
            row.costs.append(min(matched, before.cost(column) + 1, row.cost(column - 1) + 1))
        rows.append(row)
    return rows


def _match_cost(said: TimedWord, hypothesis: Sequence[TimedWord], place: int, slack_seconds: float) -> float:
    if place < 0:
        return math.inf
    distance = abs(said.middle - hypothesis[place].middle)
    if distance > slack_seconds:
        return math.inf
    return (said.text != hypothesis[place].text) + DISTANCE_COST_PER_SECOND * distance


def count(pairs: Iterable[Pair], reference: Sequence[TimedWord], hypothesis: Sequence[TimedWord]) -> Errors:
    """The errors of an alignment."""
    wrong = lost = added = 0
    for said, heard in pairs:
        if said is None:
            added += 1
        elif heard is None:
            lost += 1
        else:
            wrong += reference[said].text != hypothesis[heard].text
    return Errors(wrong, lost, added, len(reference))


class Spanning(Protocol):
    """A word with a start and an end."""

    @property
    def start(self) -> float: ...

    @property
    def end(self) -> float: ...


def disorder(words: Sequence[Spanning]) -> int:
    """Words that end before they start or start before the one ahead ends."""
    ends = [0.0, *(word.end for word in words)]
    return sum(word.start < end or word.end < word.start for word, end in zip(words, ends, strict=False))


def spread_of(errors_seconds: Sequence[float]) -> str:
    """Sizes of errors of time, in words."""
    off = 1000 * np.abs(errors_seconds)
    centiles = ", ".join(f"{share} % {np.percentile(off, share):.0f}" for share in (95, 99))
    return f"mean {off.mean():.1f} ms, {centiles}, worst {off.max():.0f}"
