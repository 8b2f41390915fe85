"""What the server's machine lacks, while it lacks it.

Owns the memory of it: the log names each once, and `/ready` says so until it was not seen for a while.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import structlog

from lithophone.errors import ShortageError

log = structlog.get_logger(__name__)

LASTS_SECONDS: Final = 5.0
"""After it was last met, a shortage is taken to be over: nobody may be there to meet it once `/ready` sends all away."""


class Shortages:
    """What was met lately."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last_met: dict[str, float] = {}

    def note(self, lacking: str) -> None:
        """A request met it."""
        if lacking not in self._current():
            log.error("shortage", lacking=lacking)
        self._last_met[lacking] = self._clock()

    def require_none(self) -> None:
        """Check that nothing was lacking lately.

        Raises:
            ShortageError: something was; the message names it.
        """
        current = self._current()
        if current:
            raise ShortageError(f"The server is short of something: {'; '.join(sorted(current))}")

    def _current(self) -> dict[str, float]:
        now = self._clock()
        self._last_met = {
            lacking: met for lacking, met in self._last_met.items() if now - met < LASTS_SECONDS
        }
        return self._last_met
