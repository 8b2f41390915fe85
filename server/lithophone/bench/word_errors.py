"""How far what was written is from what was said.

Owns the edit distance and the word error rate. Pure.
"""

from __future__ import annotations

import string
from collections.abc import Sequence


def edit_distance(wanted: Sequence[object], got: Sequence[object]) -> int:
    """The fewest items to insert, delete or replace to make one sequence of the other (Levenshtein 1966)."""
    row = list(range(len(got) + 1))
    for place, item in enumerate(wanted, start=1):
        before, row[0] = row[0], place
        for other, said in enumerate(got, start=1):
            before, row[other] = row[other], min(row[other] + 1, row[other - 1] + 1, before + (item != said))
    return row[-1]


def word_error_rate(references: Sequence[str | None], texts: Sequence[str]) -> float | None:
    """Word edits by reference words over the clips that have a transcript; case and punctuation do not count."""
    pairs = [(_words(said), _words(text)) for said, text in zip(references, texts, strict=True) if said]
    words = sum(len(said) for said, _ in pairs)
    return sum(edit_distance(said, text) for said, text in pairs) / words if words else None


def _words(text: str) -> list[str]:
    bare = (word.strip(string.punctuation) for word in text.casefold().split())
    return [word for word in bare if word]
