"""How many live sessions there may be at once, and their end when the server ends.

Owns the count. A session holds its place for hours and asks little of the model, so that it is counted apart from requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager

from lithophone.engine.admission import Admission

POLL_SECONDS = 0.05


class LivePlaces:
    """The places of live sessions.

    Args:
        most: How many.

    Attributes:
        draining: Set when the sessions are to end.
    """

    def __init__(self, most: int) -> None:
        self._admission = Admission(most)
        self._taken = 0
        self.draining = asyncio.Event()

    @property
    def taken(self) -> int:
        """Sessions there are."""
        return self._taken

    @contextmanager
    def admit(self) -> Generator[None]:
        """Hold a place for the life of a session.

        Raises:
            OverloadedError: every place is taken.
            DrainingError: the server is shutting down.
        """
        with self._admission.admit():
            self._taken += 1
            try:
                yield
            finally:
                self._taken -= 1

    async def drain(self, seconds: float, hurried: Callable[[], bool]) -> None:
        """Let nobody in, and wait until all are gone, but not for long and not when somebody is in a hurry."""
        self._admission.drain()
        self.draining.set()
        end = asyncio.get_running_loop().time() + seconds
        while self._taken and not hurried() and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110 - a signal's handler sets no event
            await asyncio.sleep(POLL_SECONDS)
