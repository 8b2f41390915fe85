"""Which tokens of an answer make which of its words. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate


def token_stops(word_lengths: Sequence[int], written: Sequence[str]) -> tuple[int, ...]:
    """For each word how many tokens make the text up to its end; words that share a token have the same number.

    Args:
        word_lengths: Characters of each word; together those of the whole text, but for what is behind it.
        written: The text of no token, of the first, of the first two, ... A token may end inside of a character, whose
            place is then held by another one.
    """
    whole = written[-1]
    lengths = [len(text) if whole.startswith(text) else 0 for text in written]
    stops: list[int] = []
    for end in reversed(list(accumulate(word_lengths))):
        stop = next((count for count, length in enumerate(lengths) if length >= end), len(written) - 1)
        shared = lengths[stop] > end and bool(stops)
        stops.append(stops[-1] if shared else stop)
    return tuple(reversed(stops))
