"""How clients share what is scarce. Pure: counts and seconds, no clock of its own.

Owns the rule of a fair share, and who of those that wait comes in next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

SHARE_OF_FREE: Final = 3
"""A client may hold this many times what is free: alone three quarters of everything, so that the next one finds room.

Dynamic thresholds, as switches share their buffers: Choudhury and Hahne, IEEE/ACM Transactions on Networking 6(2), 1998.
"""


class Client(msgspec.Struct, frozen=True):
    """Who asks: the name of a key, or an address. `0` leaves a limit to the server's own.

    Attributes:
        name: Tells clients apart; it may be logged.
        max_requests: Places this client may hold.
        max_audio_seconds: Audio that its requests may hold together.
    """

    name: str = ""
    max_requests: int = 0
    max_audio_seconds: float = 0.0


class Holding(msgspec.Struct, frozen=True):
    """What a client holds: requests at work, and seconds of their audio that were not answered yet."""

    requests: int = 0
    audio_seconds: float = 0.0


NOTHING: Final = Holding()


def has_share(held: float, free: float) -> bool:
    """Whether a client that holds so much may take some of what is free; who holds nothing may take the last of it."""
    return free > 0 and held < SHARE_OF_FREE * free


@dataclass(slots=True, eq=False)
class Seat:
    """A request that waits or is inside.

    Attributes:
        client: Who asks.
        audio_seconds: What it still holds; shrinks as audio is answered.
        is_expected: It was told to come back now.
        is_inside: It waits no more.
    """

    client: Client
    audio_seconds: float
    is_expected: bool = False
    is_inside: bool = False


@dataclass(slots=True)
class _Held:
    requests: int = 0
    audio_seconds: float = 0.0


@dataclass(slots=True)
class Room:
    """Places, counted in requests and in seconds of audio, and the line before them.

    Args:
        max_requests: Places.
        max_audio_seconds: Audio of those inside together. A request of more than a quarter counts as a quarter: the model
            lets jobs take turns, so that a long one holds up the others no more than that.
        elsewhere: What clients hold in the rooms of other servers, which counts for the limits of their own.
    """

    max_requests: int
    max_audio_seconds: float
    waiting: list[Seat] = field(default_factory=list[Seat])
    requests: int = 0
    audio_seconds: float = 0.0
    elsewhere: Mapping[str, Holding] = field(default_factory=dict[str, Holding])
    _held: dict[str, _Held] = field(default_factory=dict[str, _Held])

    @property
    def holdings(self) -> dict[str, Holding]:
        """What each client holds here."""
        return {name: Holding(held.requests, held.audio_seconds) for name, held in self._held.items()}

    def counted_seconds(self, audio_seconds: float) -> float:
        """What a request of this length takes of the room."""
        return min(audio_seconds, self.max_audio_seconds / 4)

    def fits(self, seat: Seat) -> bool:
        """Whether it may come in now, were nobody before it."""
        return self._within_its_limits(seat) and (
            not self.requests or (self._has_place(seat) and self._has_share(seat))
        )

    def _has_place(self, seat: Seat) -> bool:
        return (
            self.requests < self.max_requests
            and self.audio_seconds + seat.audio_seconds <= self.max_audio_seconds
        )

    def _has_share(self, seat: Seat) -> bool:
        held = self._held.get(seat.client.name, _Held())
        return has_share(held.requests, self.max_requests - self.requests) and has_share(
            held.audio_seconds, self.max_audio_seconds - self.audio_seconds
        )

    def _within_its_limits(self, seat: Seat) -> bool:
        """Whether the client's own limits leave room, wherever it holds what it holds."""
        return self._limits_allow(seat, self.elsewhere.get(seat.client.name, NOTHING))

    def waits_for_others(self, seat: Seat) -> bool:
        """Whether it is for what its client holds elsewhere that it may not come in, and nothing here tells when it may."""
        return not self._within_its_limits(seat) and self._limits_allow(seat, NOTHING)

    def _limits_allow(self, seat: Seat, elsewhere: Holding) -> bool:
        """One request of a client may always be long."""
        client, held = seat.client, self._held.get(seat.client.name, _Held())
        requests = held.requests + elsewhere.requests
        seconds = held.audio_seconds + elsewhere.audio_seconds
        return (not client.max_requests or requests < client.max_requests) and (
            not client.max_audio_seconds
            or not requests
            or seconds + seat.audio_seconds <= client.max_audio_seconds
        )

    def next_seat(self) -> Seat | None:
        """Who of those that wait may come in now: of the clients, the one that holds least; of its requests, the first.

        One that only its client's share or limits keep out is passed over; one that nobody's leaving has made room for yet is not,
        or a long one would wait for ever behind short ones.
        """
        for seat in self._first_of_each():
            if self.fits(seat):
                return seat
            if self._has_share(seat) and self._within_its_limits(seat):
                return None
        return None

    def _first_of_each(self) -> Iterable[Seat]:
        first: dict[str, Seat] = {}
        for seat in self.waiting:
            first.setdefault(seat.client.name, seat)
        return sorted(first.values(), key=self._held_by_client)

    def _held_by_client(self, seat: Seat) -> tuple[int, float]:
        held = self._held.get(seat.client.name, _Held())
        return held.requests, held.audio_seconds

    def wait(self, seat: Seat) -> None:
        """Stand in line: those that are expected before those that are not."""
        place = sum(one.is_expected for one in self.waiting) if seat.is_expected else len(self.waiting)
        self.waiting.insert(place, seat)

    def enter(self, seat: Seat) -> None:
        """Let it in."""
        if seat in self.waiting:
            self.waiting.remove(seat)
        seat.is_inside = True
        self.requests += 1
        held = self._held.setdefault(seat.client.name, _Held())
        held.requests += 1
        self._add_audio(seat, seat.audio_seconds)

    def shrink(self, seat: Seat, audio_seconds: float) -> None:
        """So much of its audio was answered."""
        answered = min(audio_seconds, seat.audio_seconds)
        seat.audio_seconds -= answered
        if seat.is_inside:
            self._add_audio(seat, -answered)

    def leave(self, seat: Seat) -> None:
        """It goes, from the line or from inside."""
        if not seat.is_inside:
            if seat in self.waiting:
                self.waiting.remove(seat)
            return
        self._add_audio(seat, -seat.audio_seconds)
        seat.is_inside = False
        self.requests -= 1
        held = self._held[seat.client.name]
        held.requests -= 1
        if not held.requests:
            del self._held[seat.client.name]
        if not self.requests:
            self.audio_seconds = 0.0  # nothing of rounding stays

    def _add_audio(self, seat: Seat, audio_seconds: float) -> None:
        self.audio_seconds += audio_seconds
        self._held[seat.client.name].audio_seconds += audio_seconds
