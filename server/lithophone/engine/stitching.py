"""Two windows that heard the same stretch: which words to take from which.

Owns the seam. Pure: times and words in, counts out.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from lithophone.backends.base import Recognition
from lithophone.engine.segmentation import share_tokens
from lithophone.granite.words import Word

SAME_WORD_SECONDS: Final = 0.3  # how far apart two windows may place the middle of one word


class Seam(NamedTuple):
    """The first window keeps its first `kept` words, the second loses its first `dropped`."""

    kept: int
    dropped: int


def find_seam(
    first: Sequence[Word], second: Sequence[Word], start_seconds: float, stop_seconds: float
) -> Seam:
    """Where to pass from one window to the next, in the stretch both heard.

    The seam lies behind a word that both heard at the same time, the one nearest to the middle of the stretch: there a
    little disagreement about times neither loses nor doubles a word. Where they agree on none, each word goes to
    the side of the middle its own middle is on. A window without words has nothing to say about the other's.
    """
    if not first or not second:
        return Seam(len(first), 0)
    centre = (start_seconds + stop_seconds) / 2
    agreed = [
        (abs(word.middle_seconds - centre), index, other)
        for index, word in enumerate(first)
        if start_seconds - SAME_WORD_SECONDS <= word.middle_seconds <= stop_seconds + SAME_WORD_SECONDS
        and (other := _counterpart(word, second)) is not None
    ]
    if agreed:
        _, index, other = min(agreed)
        return Seam(index + 1, other + 1)
    return Seam(
        sum(word.middle_seconds < centre for word in first),
        sum(word.middle_seconds < centre for word in second),
    )


def _counterpart(word: Word, others: Sequence[Word]) -> int | None:
    """The word of the other window at the same time, if it is the same word."""
    nearest = min(
        range(len(others)), key=lambda index: abs(others[index].middle_seconds - word.middle_seconds)
    )
    other = others[nearest]
    near = abs(other.middle_seconds - word.middle_seconds) <= SAME_WORD_SECONDS
    return nearest if near and _bare(other.text) == _bare(word.text) else None


def _bare(text: str) -> str:
    """A word without case, punctuation and spaces; just the marks where there is nothing else."""
    letters = "".join(c for c in text.casefold() if unicodedata.category(c)[0] in "LMNS")
    return letters or text.strip()


def keep_words(recognition: Recognition, start: int, stop: int) -> Recognition:
    """The recognition with the words from `start` up to `stop` alone, and their tokens."""
    words = recognition.words
    _, tokens, _ = share_tokens(recognition.tokens, [words[:start], words[start:stop], words[stop:]])
    text = "".join(word.text for word in words[start:stop])
    kept = tuple(words[start:stop])
    if kept:
        kept = (msgspec.structs.replace(kept[0], text=kept[0].text.lstrip()), *kept[1:])
    return msgspec.structs.replace(recognition, text=text.strip(), words=kept, tokens=tokens)
