"""Who may come in: places for the whole server.

Owns the count of requests that run or wait, and the answer to those that find no place. Knows no model.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from contextlib import contextmanager

from lithophone.errors import DrainingError, OverloadedError

NEWEST_SHARE = 0.2  # of the last request in the running mean of how long requests take


class Admission:
    """Holds `max_requests` places, and closes the door when the server is about to end."""

    def __init__(self, max_requests: int) -> None:
        self._max_requests = max_requests
        self._admitted = 0
        self._request_seconds = 1.0  # running mean, for Retry-After
        self._draining = False

    @property
    def draining(self) -> bool:
        """The door is closed."""
        return self._draining

    def drain(self) -> None:
        """Take no new requests; those admitted go on."""
        self._draining = True

    def require_open(self) -> None:
        """Check that new requests are taken at all.

        Raises:
            DrainingError: the server is shutting down.
        """
        if self._draining:
            raise DrainingError("The server is shutting down.")

    @contextmanager
    def admit(self) -> Generator[None]:
        """Hold a place for the life of a request.

        Raises:
            OverloadedError: every place is taken.
            DrainingError: the server is shutting down.
        """
        self.require_open()
        if self._admitted >= self._max_requests:
            raise OverloadedError(
                f"All {self._max_requests} places are taken; try again later.",
                retry_after_seconds=max(1, math.ceil(self._request_seconds)),
            )
        self._admitted += 1
        started = time.monotonic()
        try:
            yield
        finally:
            self._admitted -= 1
            self._request_seconds += NEWEST_SHARE * (time.monotonic() - started - self._request_seconds)
