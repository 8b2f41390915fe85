"""The share of each client holds in whatever order requests come and go."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lithophone.engine.fairness import Client, Holding, Room, Seat, has_share

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


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from("ab"), st.floats(0, 500), st.booleans()), max_size=60
    ),
    st.integers(1, 6),
    st.floats(1, 600),
)
def test_a_clients_own_limits_hold_for_all_rooms_that_know_of_each_other(
    arrivals: list[tuple[int, str, float, bool]], places: int, seconds: float
) -> None:
    rooms, inside = [Room(100, 1e6) for _ in range(3)], list[tuple[Room, Seat]]()
    limited = {name: Client(name, places, seconds) for name in "ab"}
    for number, name, length, one_leaves in arrivals:
        if one_leaves and inside:
            room, seat = inside.pop(0)
            room.leave(seat)
        room = rooms[number]
        room.elsewhere = together([one.holdings for one in rooms if one is not room])
        if room.fits(seat := Seat(limited[name], room.counted_seconds(length))):
            room.enter(seat)
            inside.append((room, seat))
    for holding in together([room.holdings for room in rooms]).values():
        assert holding.requests <= places
        assert holding.requests <= 1 or holding.audio_seconds <= seconds * (1 + 1e-9)


def together(rooms: list[dict[str, Holding]]) -> dict[str, Holding]:
    names = {name for room in rooms for name in room}
    held = {name: [room.get(name, Holding()) for room in rooms] for name in names}
    return {
        name: Holding(sum(one.requests for one in many), sum(one.audio_seconds for one in many))
        for name, many in held.items()
    }


def test_what_a_client_holds_elsewhere_takes_nothing_of_its_share_here() -> None:
    room = Room(4, 1e9, elsewhere={"ann": Holding(1000, 1e6)})
    assert room.fits(Seat(Client("ann"), 10.0))
    assert not room.fits(Seat(Client("ann", max_requests=1000), 10.0))
    assert not room.fits(Seat(Client("ann", max_audio_seconds=1e6), 10.0))
