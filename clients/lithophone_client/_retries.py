"""When a request is tried again, and after how long.

Only what the server has certainly not done is repeated: no connection, 429 (queue full) and 503 (loading or shutting
down). A timeout is not, for the server may still be at work on the first attempt. A stream is tried again only
before its first byte. Pure: the clients do the waiting.
"""

from __future__ import annotations

from dataclasses import dataclass

from lithophone_client._errors import (
    APIError,
    CannotConnectError,
    LithophoneError,
    TooManyRequestsError,
    UnavailableError,
)

DEFAULT_RETRIES = 2
_RETRIED = (CannotConnectError, TooManyRequestsError, UnavailableError)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how patiently.

    Attributes:
        retries: attempts after the first one.
        first_delay_seconds: the wait before the first retry where the server names none; it doubles each time.
        longest_delay_seconds: if the server asks for a longer wait, its error is raised at once.
    """

    retries: int = DEFAULT_RETRIES
    first_delay_seconds: float = 0.5
    longest_delay_seconds: float = 60.0

    def delay_seconds(self, error: LithophoneError, failures: int) -> float | None:
        """The wait before the next attempt, or None to raise `error`.

        Args:
            error: how the last attempt ended.
            failures: attempts so far, all failed; at least 1.
        """
        if failures > self.retries or not isinstance(error, _RETRIED):
            return None
        asked = error.retry_after_seconds if isinstance(error, APIError) else None
        delay = asked if asked is not None else self.first_delay_seconds * 2 ** (failures - 1)
        return delay if delay <= self.longest_delay_seconds else None
