"""How many windows at a time: what memory has taught. Pure."""

from __future__ import annotations

from typing import Final

GROWTH_WINDOWS: Final = 32  # windows that have to go well before one more is let in


class WindowLimit:
    """Halved when memory runs out, and grown by one window at a time as things go well."""

    def __init__(self) -> None:
        self._limit: int | None = None
        self._gone_well = 0

    def of(self, most: int) -> int:
        """The limit now, for a backend that takes `most` by itself."""
        return most if self._limit is None else min(self._limit, most)

    def lower(self, running: int) -> None:
        """So many were too many."""
        self._limit = max(1, running // 2)
        self._gone_well = 0

    def went_well(self, most: int) -> None:
        """A window is done."""
        if self._limit is None:
            return
        self._gone_well += 1
        if self._gone_well == GROWTH_WINDOWS:
            self._gone_well = 0
            self._limit = None if self._limit + 1 >= most else self._limit + 1
