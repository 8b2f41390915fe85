"""The share of each client holds in whatever order requests come and go."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lithophone.engine.fairness import Client, Room, Seat, has_share

arrivals = st.lists(
    st.tuples(st.sampled_from("abc"), st.floats(0, 500), st.integers(0, 5)), min_size=1, max_size=60
)


@given(arrivals, st.integers(1, 12), st.floats(10, 1000))
def test_nothing_is_over_the_limits_and_all_get_in_at_last(
    requests: list[tuple[str, float, int]], places: int, seconds: float
) -> None:
    room, inside, entered = Room(places, seconds), list[Seat](), 0
    for name, length, leaving in requests:
        room.waiting.append(Seat(Client(name), room.counted_seconds(length)))
        for seat in inside[:leaving]:
            room.leave(seat)
        del inside[:leaving]
        entered += let_in(room, inside)
        assert len(inside) == room.requests <= places
        assert sum(seat.audio_seconds for seat in inside) <= seconds * (1 + 1e-9)
        assert inside
    while inside:
        room.leave(inside.pop(0))
        entered += let_in(room, inside)
    assert entered == len(requests)
    assert (room.requests, room.audio_seconds, room.waiting) == (0, 0.0, [])


def let_in(room: Room, inside: list[Seat]) -> int:
    before = len(inside)
    while (seat := room.next_seat()) is not None:
        room.enter(seat)
        inside.append(seat)
    return len(inside) - before


@given(st.integers(1, 100))
def test_one_client_alone_takes_three_quarters_and_a_second_one_finds_room(places: int) -> None:
    room = Room(places, 1e9)
    while room.fits(seat := Seat(Client("greedy"), 0.0)):
        room.enter(seat)
    assert room.requests >= places * 3 // 4
    assert places < 4 or room.fits(Seat(Client("modest"), 0.0))


def test_who_holds_nothing_may_take_the_last() -> None:
    assert has_share(0, 1)
    assert not has_share(0, 0)
    assert not has_share(3, 1)
