"""How many live sessions there may be at once, and their end when the server ends.

Owns the count. A session holds its place for hours and asks little of the model, so that it is counted apart from requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager

from lithophone.errors import DrainingError, OverloadedError
from lithophone.hosts.tally import Distribution

POLL_SECONDS = 0.05
FULL_RETRY_SECONDS = 5  # sessions last for minutes: nobody can tell when one ends


class LivePlaces:
    """The places of live sessions.

    Args:
        most: How many.

    Attributes:
        draining: Set when the sessions are to end.
        lags: Seconds of newer audio that a session had each time that the model had heard what there was.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0
        self.draining = asyncio.Event()
        self.lags = Distribution()

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
        if self.draining.is_set():
            raise DrainingError("The server is shutting down.")
        if self._taken >= self._most:
            raise OverloadedError(
                f"All {self._most} live sessions are taken; try again later.",
                retry_after_seconds=FULL_RETRY_SECONDS,
            )
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1

    async def drain(self, seconds: float, hurried: Callable[[], bool]) -> None:
        """Let nobody in, and wait until all are gone, but not for long and not when somebody is in a hurry."""
        self.draining.set()
        end = asyncio.get_running_loop().time() + seconds
        while self._taken and not hurried() and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110 - a signal's handler sets no event
            await asyncio.sleep(POLL_SECONDS)
