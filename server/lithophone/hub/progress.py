"""How far a download is, counted by several threads, told to one listener."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock
from typing import Final

import msgspec

TOLD_SECONDS: Final = 0.25


class Fetched(msgspec.Struct, frozen=True):
    """So many bytes of a model are on this machine, of so many."""

    done_bytes: int
    total_bytes: int

    def __str__(self) -> str:
        unit, name = (1e9, "GB") if self.total_bytes >= 1e9 else (1e6, "MB")
        return f"{self.done_bytes / unit:.1f} of {self.total_bytes / unit:.1f} {name}"


OnFetched = Callable[[Fetched], None]


def ignore(_: Fetched) -> None:
    """For downloads that nobody watches."""


class Progress:
    """Counts, and tells now and then.

    Args:
        total_bytes: Of all files.
        tell: Takes the news; called from any of the threads, one at a time.
    """

    def __init__(self, total_bytes: int, tell: OnFetched) -> None:
        self._total_bytes = total_bytes
        self._tell = tell
        self._done: dict[str, int] = {}
        self._told = 0.0
        self._counting = Lock()

    def at(self, name: str, done_bytes: int) -> None:
        """A file is there as far as this."""
        with self._counting:
            self._done[name] = done_bytes
            done = sum(self._done.values())
            if done >= self._total_bytes or time.monotonic() - self._told >= TOLD_SECONDS:
                self._told = time.monotonic()
                self._tell(Fetched(done, self._total_bytes))
