"""How far a job's windows run ahead of its words.

Owns the queue of windows that were cut and are not written yet, in order. Knows no audio and no model.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Final, Generic, TypeVar

LEAST_UNDERWAY: Final = 3
"""Windows of a job on their way whoever else waits: one in the model, one behind it, and one to follow at once."""

MOST_UNWRITTEN: Final = 128
"""Windows, done or not, that wait for an earlier one; about 2 MB each."""

Item = TypeVar("Item")


class Ahead(Generic[Item]):
    """A queue with room for as much as keeps the model busy.

    Args:
        wants_more: Whether more than the least number of windows may be under way.
    """

    def __init__(self, wants_more: Callable[[], bool]) -> None:
        self._wants_more = wants_more
        self._items: asyncio.Queue[Item] = asyncio.Queue()
        self._underway: set[asyncio.Future[Any]] = set()
        self._changed = asyncio.Event()
        self._is_held_up = False

    async def room(self) -> None:
        """Wait until another window may be on its way."""
        while self._is_full():
            self._changed.clear()
            await self._changed.wait()

    @contextmanager
    def held_up(self) -> Generator[None]:
        """While whoever reads has no time for more."""
        self._is_held_up = True
        try:
            yield
        finally:
            self._is_held_up = False
            self._changed.set()

    def put(self, item: Item, underway: asyncio.Future[Any] | None = None) -> None:
        """Hand on what is next; `underway` ends when the model has done with it."""
        self._items.put_nowait(item)
        if underway is not None:
            self._underway.add(underway)
            underway.add_done_callback(self._ended)

    async def get(self) -> Item:
        """The oldest of what waits."""
        item = await self._items.get()
        self._changed.set()
        return item

    def _is_full(self) -> bool:
        if len(self._underway) < LEAST_UNDERWAY and self._items.qsize() < LEAST_UNDERWAY:
            return False
        return self._is_held_up or self._items.qsize() >= MOST_UNWRITTEN or not self._wants_more()

    def _ended(self, underway: asyncio.Future[Any]) -> None:
        self._underway.discard(underway)
        self._changed.set()
