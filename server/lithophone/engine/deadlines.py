"""When a request must be done: after the longest time allowed, or when the server's own end has come.

Owns the limits of the requests under way. A limit is a cancellation of the request's task, which frees what it holds as if
its client had left.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from lithophone.errors import DeadlineError, DrainingError


class Deadlines:
    """The limits of all requests under way.

    Args:
        max_seconds: How long one may take; 0: as long as it takes.
    """

    def __init__(self, max_seconds: float = 0.0) -> None:
        self._max_seconds = max_seconds
        self._limits: set[asyncio.Timeout] = set()
        self._over = False

    @asynccontextmanager
    async def limited(self) -> AsyncGenerator[None]:
        """Cancel what is inside at the end of its time.

        Raises:
            DeadlineError: it took longer than a request may.
            DrainingError: the server ends.
        """
        limit = asyncio.timeout(0 if self._over else self._max_seconds or None)
        try:
            async with limit:
                self._limits.add(limit)
                yield
        except TimeoutError:
            if not limit.expired():
                raise
            if self._over:
                raise DrainingError("The server shut down before the request was done.") from None
            raise DeadlineError(
                f"The request took longer than the {self._max_seconds:g} seconds allowed."
            ) from None
        finally:
            self._limits.discard(limit)

    @property
    def over(self) -> bool:
        """The server's end has come."""
        return self._over

    def end(self) -> None:
        """The server ends: every request is over now."""
        self._over = True
        for limit in self._limits:
            if not limit.expired():
                limit.reschedule(asyncio.get_running_loop().time())
