"""The client's own words in a message to it."""

from __future__ import annotations

QUOTED_CHARACTERS = 100


def quote(text: str) -> str:
    """`text` in quotes, on one line, cut where it is long."""
    return repr(cut(text))


def cut(text: str) -> str:
    """The beginning of `text` where it is long."""
    return text if len(text) <= QUOTED_CHARACTERS else text[:QUOTED_CHARACTERS] + "…"
