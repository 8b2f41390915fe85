"""The client's own words in a message to it."""

from __future__ import annotations

QUOTED_CHARACTERS = 100


def quote(text: str) -> str:
    """`text` in quotes, on one line, cut where it is long."""
    shown = text if len(text) <= QUOTED_CHARACTERS else text[:QUOTED_CHARACTERS] + "…"
    return repr(shown)
