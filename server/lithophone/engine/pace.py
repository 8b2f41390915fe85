"""How fast requests are done, and when one that comes now would have its turn. Pure: every call is told the time.

Owns the estimate behind `Retry-After`, and the promises made with it: whoever was told to come back later is expected, so
that the next one is told a later time, and finds room when it does come.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

HALF_LIFE_SECONDS: Final = 20.0  # of busy time: what is older counts half
LEAST_DONE: Final = (
    0.5  # a request or second: while nothing was done, the pace falls with the time that went by
)
SHORTEST_SECONDS: Final = 0.001
EARLY_SECONDS: Final = 0.5  # clients' clocks
LATE_SECONDS: Final = 2.0  # after that, one that was told to come back is not expected any more


class _Promise(NamedTuple):
    client: str
    due: float


class Pace:
    """What was done per second while there was something to do."""

    def __init__(self) -> None:
        self._busy_seconds = 0.0
        self._requests = 0.0
        self._audio_seconds = 0.0
        self._at = 0.0

    def tick(self, now: float, *, busy: bool) -> None:
        """Time went by until `now`."""
        elapsed, self._at = now - self._at, now
        if busy and elapsed > 0:
            kept = 0.5 ** (elapsed / HALF_LIFE_SECONDS)
            self._requests *= kept
            self._audio_seconds *= kept
            self._busy_seconds = self._busy_seconds * kept + elapsed

    def done(self, *, requests: int = 0, audio_seconds: float = 0.0) -> None:
        """So much was answered."""
        self._requests += requests
        self._audio_seconds += audio_seconds

    def seconds_for(self, requests: int, audio_seconds: float) -> float:
        """How long so much takes: by the number or by the length, whichever is more."""
        by_number = requests / self._per_second(self._requests)
        by_length = audio_seconds / self._per_second(self._audio_seconds) if audio_seconds > 0 else 0.0
        return max(by_number, by_length)

    def _per_second(self, done: float) -> float:
        return max(done, LEAST_DONE) / max(self._busy_seconds, SHORTEST_SECONDS)


class Promises:
    """Who was told to come back, and when."""

    def __init__(self) -> None:
        self._promises: deque[_Promise] = deque()

    def __len__(self) -> int:
        return len(self._promises)

    def due_before(self, moment: float) -> int:
        """How many are expected by then."""
        return sum(promise.due <= moment for promise in self._promises)

    def make(self, client: str, now: float, after_seconds: float) -> None:
        """Expect a client after so long."""
        self._promises.append(_Promise(client, now + after_seconds))

    def redeem(self, client: str, now: float) -> bool:
        """Whether a client was expected by now; it is no longer. Those that did not come in time are forgotten."""
        self._promises = deque(one for one in self._promises if now <= one.due + LATE_SECONDS)
        for promise in self._promises:
            if promise.client == client and promise.due <= now + EARLY_SECONDS:
                self._promises.remove(promise)
                return True
        return False
