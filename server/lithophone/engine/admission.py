"""Who may come in, who waits before the door, and when the door closes.

Owns the places of the whole server: requests at work, counted in number and in seconds of audio, shared fairly between
clients. Who finds no place waits a little; who would wait longer is told when to come back. Knows no model.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final

from lithophone.engine.deadlines import Deadlines
from lithophone.engine.fairness import Client, Holding, Room, Seat
from lithophone.engine.pace import Pace, Promises
from lithophone.errors import DrainingError, OverloadedError

ANYBODY: Final = Client()
DEFAULT_QUEUED_SECONDS: Final = 4 * 3600.0
DEFAULT_WAIT_SECONDS: Final = 10.0


class Place:
    """What a request holds from the moment it asks until it leaves; it may begin once `admitted()` returns."""

    def __init__(self, admission: Admission, seat: Seat, admitted: asyncio.Future[None]) -> None:
        self._admission = admission
        self._seat = seat
        self._admitted = admitted
        self._answered_seconds = 0.0

    @property
    def is_inside(self) -> bool:
        """It need not wait (any more)."""
        return self._seat.is_inside

    async def admitted(self) -> None:
        """Wait for the turn.

        Raises:
            OverloadedError: it did not come in time.
        """
        await self._admission.turn_of(self._seat, self._admitted)

    def answered(self, until_seconds: float) -> None:
        """The recording was answered as far as this: so much less of it is queued."""
        more, self._answered_seconds = until_seconds - self._answered_seconds, until_seconds
        self._admission.answered(self._seat, more)

    def leave(self) -> None:
        """Give the place back, or stop waiting for it; again does no harm."""
        self._admission.leave(self._seat)


class Admission:
    """Holds the places, and closes the door when the server is about to end.

    Args:
        max_requests: Requests at work at once.
        max_queued_seconds: Audio that they hold together, as far as it was not answered yet.
        wait_seconds: How long one without a place waits for it.
        max_request_seconds: How long a request may take altogether; 0: as long as it takes.
        clock: Seconds, ever growing.

    Attributes:
        leaving: A newer server takes over: whoever is answered should come to it by a new connection.
    """

    def __init__(
        self,
        max_requests: int,
        *,
        max_queued_seconds: float = DEFAULT_QUEUED_SECONDS,
        wait_seconds: float = DEFAULT_WAIT_SECONDS,
        max_request_seconds: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.deadlines = Deadlines(max_request_seconds)
        self._room = Room(max_requests, max_queued_seconds or math.inf)
        self._wait_seconds = wait_seconds
        self._clock = clock
        self._pace = Pace()
        self._pace.tick(clock(), busy=False)
        self._promises = Promises()
        self._turns: dict[Seat, asyncio.Future[None]] = {}
        self._changed = asyncio.Event()
        self._draining = False
        self.leaving = False

    @property
    def draining(self) -> bool:
        """The door is closed."""
        return self._draining

    def drain(self) -> None:
        """Take no new requests; those that came go on."""
        self._draining = True

    def require_open(self) -> None:
        """Check that new requests are taken at all.

        Raises:
            DrainingError: the server is shutting down.
        """
        if self._draining:
            raise DrainingError("The server is shutting down.")

    @property
    def requests(self) -> int:
        """How many are at work."""
        return self._room.requests

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return len(self._room.waiting)

    @property
    def running_audio_seconds(self) -> float:
        """Audio of those at work that was not answered yet, as far as it is counted."""
        return self._room.audio_seconds

    @property
    def waiting_audio_seconds(self) -> float:
        """Audio of those that wait for a place."""
        return sum(seat.audio_seconds for seat in self._room.waiting)

    @property
    def holdings(self) -> Mapping[str, Holding]:
        """What each client holds here."""
        return self._room.holdings

    def holdings_changed(self) -> asyncio.Event:
        """Set when any of them is no longer what it is now."""
        return self._changed

    def count_elsewhere(self, holdings: Mapping[str, Holding]) -> None:
        """From now on count what clients hold at other servers, too, for the limits of their own."""
        self._room.elsewhere = holdings
        self._let_in()

    def place(
        self, audio_seconds: float = 0.0, client: Client = ANYBODY, *, is_first_try: bool = False
    ) -> Place:
        """Ask for a place for a recording of about this length. The caller must `leave()` it, admitted or not.

        Args:
            audio_seconds: About how long it is.
            client: Who asks.
            is_first_try: It is known not to have been told to come back; else it may have been.

        Raises:
            OverloadedError: the turn would not come before a client is better told to come back.
        """
        now = self._tick()
        expected = not is_first_try and self._promises.redeem(client.name, now)
        seat = Seat(client, self._room.counted_seconds(audio_seconds), is_expected=expected)
        admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        may_wait = (
            expected
            or self._room.waits_for_others(seat)
            or self._turn_seconds(seat, now) <= self._wait_seconds
        )
        self._room.wait(seat)
        self._turns[seat] = admitted
        self._let_in()
        if not seat.is_inside and not may_wait:
            self.leave(seat)
            raise self._refusal(seat)
        return Place(self, seat, admitted)

    @asynccontextmanager
    async def held(self) -> AsyncGenerator[None]:
        """A place for what has no length yet, from its turn to the end.

        Raises:
            DrainingError: the server is shutting down.
            OverloadedError: the turn did not come in time.
        """
        self.require_open()
        place = self.place()
        try:
            await place.admitted()
            yield
        finally:
            place.leave()

    async def turn_of(self, seat: Seat, admitted: asyncio.Future[None]) -> None:
        """See `Place.admitted`."""
        try:
            async with asyncio.timeout(self._wait_seconds):
                await admitted
        except TimeoutError:
            self.leave(seat)
            raise self._refusal(seat) from None

    def answered(self, seat: Seat, audio_seconds: float) -> None:
        """See `Place.answered`."""
        if audio_seconds > 0:
            self._tick()
            self._pace.done(audio_seconds=audio_seconds)
            self._room.shrink(seat, audio_seconds)
            self._note_change()
            self._let_in()

    def leave(self, seat: Seat) -> None:
        """See `Place.leave`."""
        self._tick()
        if seat.is_inside:
            self._pace.done(requests=1)
        self._turns.pop(seat, None)
        self._room.leave(seat)
        self._note_change()
        self._let_in()

    def _enter(self, seat: Seat) -> None:
        self._room.enter(seat)
        self._note_change()

    def _note_change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _tick(self) -> float:
        now = self._clock()
        self._pace.tick(now, busy=self._room.requests > 0)
        return now

    def _let_in(self) -> None:
        while (seat := self._room.next_seat()) is not None:
            self._enter(seat)
            admitted = self._turns.pop(seat)
            if not admitted.done():
                admitted.set_result(None)

    def _turn_seconds(self, seat: Seat, now: float) -> float:
        """How long it would wait: for one to leave for each that is before it, or comes back before its turn, and itself."""
        alone = self._seconds_behind(seat, 0)
        return self._seconds_behind(seat, self._promises.due_before(now + alone))

    def _seconds_behind(self, seat: Seat, expected: int) -> float:
        room = self._room
        ahead = [one for one in room.waiting if not room.waits_for_others(one)]
        ahead_seconds = sum(one.audio_seconds for one in ahead)
        too_much = room.audio_seconds + ahead_seconds + seat.audio_seconds - room.max_audio_seconds
        return self._pace.seconds_for(len(ahead) + expected + 1, max(0.0, too_much))

    def _refusal(self, seat: Seat) -> OverloadedError:
        """Told to come back, behind all who were told before, when half of the longest wait would be left; expected then."""
        turn_seconds = self._seconds_behind(seat, len(self._promises))
        after_seconds = max(1, math.ceil(turn_seconds - self._wait_seconds / 2))
        self._promises.make(seat.client.name, self._clock(), after_seconds)
        return OverloadedError(
            f"The server is busy: {self._room.requests} requests are at work and {len(self._room.waiting)} wait. "
            f"Try again in {after_seconds} s.",
            retry_after_seconds=after_seconds,
        )
