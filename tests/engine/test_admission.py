"""Places, the line before them, and the door: on an event loop, with the time it has."""

from __future__ import annotations

import asyncio

import pytest

from lithophone.engine.admission import Admission, Place
from lithophone.engine.fairness import Client, Holding
from lithophone.errors import DeadlineError, DrainingError, OverloadedError

pytestmark = pytest.mark.anyio

ANN, BOB = Client("ann"), Client("bob")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_who_waits_too_long_is_told_when_to_come_back() -> None:
    admission = Admission(1, wait_seconds=0.05)
    first = admission.place()
    second = admission.place()
    assert (first.is_inside, second.is_inside, admission.waiting) == (True, False, 1)
    with pytest.raises(OverloadedError) as failure:
        await second.admitted()
    assert int(failure.value.headers["Retry-After"]) >= 1
    assert admission.waiting == 0
    first.leave()
    assert admission.place().is_inside


async def test_who_waits_comes_in_as_soon_as_somebody_leaves() -> None:
    admission = Admission(1)
    first, second = admission.place(), admission.place()
    waiting = asyncio.create_task(second.admitted())
    await asyncio.sleep(0)
    first.leave()
    await waiting
    assert second.is_inside
    second.leave()
    assert (admission.requests, admission.waiting) == (0, 0)


async def test_a_place_left_twice_is_one_place() -> None:
    admission = Admission(2)
    first, other = admission.place(), admission.place()
    first.leave()
    first.leave()
    assert admission.requests == 1
    other.leave()


async def test_who_stops_waiting_leaves_no_gap() -> None:
    admission = Admission(1)
    first, second, third = admission.place(), admission.place(), admission.place()
    second.leave()
    first.leave()
    assert third.is_inside


async def test_one_client_leaves_room_for_another() -> None:
    admission = Admission(8)
    greedy = [admission.place(client=ANN) for _ in range(20)]
    assert sum(place.is_inside for place in greedy) == 6  # three times the two that are left
    assert admission.place(client=BOB).is_inside


async def test_of_those_who_wait_the_client_that_holds_least_is_next() -> None:
    admission = Admission(2)
    anns = [admission.place(client=ANN) for _ in range(4)]
    bobs = [admission.place(client=BOB)]
    anns[0].leave()
    assert bobs[0].is_inside
    assert not anns[2].is_inside


async def test_audio_that_was_answered_makes_room() -> None:
    admission = Admission(8, max_queued_seconds=100.0)
    places = [admission.place(25.0, Client(str(number))) for number in range(5)]
    assert [place.is_inside for place in places] == [True] * 4 + [False]
    places[0].answered(20.0)
    assert not places[4].is_inside
    places[1].answered(5.0)
    assert places[4].is_inside


async def test_a_recording_of_any_length_finds_a_place() -> None:
    assert Admission(8, max_queued_seconds=100.0).place(1e6).is_inside


async def test_a_clients_own_limits_hold() -> None:
    admission = Admission(8, max_queued_seconds=1000.0)
    some = Client("some", max_requests=2, max_audio_seconds=50.0)
    assert [admission.place(30.0, some).is_inside for _ in range(2)] == [True, False]
    other = Client("other", max_requests=2)
    assert [admission.place(1.0, other).is_inside for _ in range(3)] == [True, True, False]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def leave_one_each_second(clock: Clock, places: list[Place]) -> None:
    for place in places:
        clock.now += 1.0
        place.leave()


async def test_who_is_told_a_time_finds_room_then_and_who_comes_after_a_later_one() -> None:
    clock = Clock()
    admission = Admission(2, wait_seconds=4.0, clock=clock)
    await leave_one_each_second(clock, [admission.place() for _ in range(20)])
    for place in [admission.place() for _ in range(6)]:
        assert place.is_inside or admission.waiting <= 4
    told: list[int] = []
    for _ in range(3):
        with pytest.raises(OverloadedError) as failure:
            admission.place()
        told.append(failure.value.retry_after_seconds)
    assert told == sorted(told)
    assert told[0] < told[2]
    clock.now += told[0]
    assert admission.waiting == 4
    admission.place()
    assert admission.waiting == 5  # expected: it need not go away again


async def test_a_closed_door_lets_nobody_in_and_those_inside_go_on() -> None:
    admission = Admission(2)
    place = admission.place()
    admission.drain()
    with pytest.raises(DrainingError):
        admission.require_open()
    assert admission.draining
    assert place.is_inside


async def test_a_request_ends_after_the_time_it_may_take() -> None:
    deadlines = Admission(1, max_request_seconds=0.02).deadlines
    with pytest.raises(DeadlineError):
        async with deadlines.limited():
            await asyncio.sleep(10)


async def test_the_end_of_the_server_ends_every_request() -> None:
    deadlines = Admission(1).deadlines

    async def request() -> None:
        async with deadlines.limited():
            await asyncio.sleep(10)

    tasks = [asyncio.create_task(request()) for _ in range(3)]
    await asyncio.sleep(0)
    deadlines.end()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [DrainingError] * 3


async def test_a_time_out_of_the_request_itself_stays_what_it_is() -> None:
    with pytest.raises(TimeoutError):
        async with Admission(1, max_request_seconds=5.0).deadlines.limited():
            raise TimeoutError


async def test_who_finds_a_place_is_not_refused_for_those_that_only_their_own_limits_keep_waiting() -> None:
    """However slow those inside are: by that alone the line before it would take an hour and more."""
    now = 0.0
    admission = Admission(10, wait_seconds=10.0, clock=lambda: now)
    one_at_a_time = Client("ann", max_requests=1)
    first = admission.place(client=one_at_a_time)
    now = 3600.0
    first.leave()
    admission.place(client=one_at_a_time)
    admission.count_elsewhere({"ann": Holding(1), "eve": Holding(1)})
    flood = [admission.place(client=Client("eve", max_requests=1)) for _ in range(50)]
    assert not any(place.is_inside for place in flood)
    assert admission.place(client=BOB).is_inside
    with pytest.raises(OverloadedError):
        admission.place(client=one_at_a_time)
    assert (admission.requests, admission.waiting) == (2, 50)


async def test_those_that_wait_for_other_servers_make_nobodys_turn_later() -> None:
    now = 0.0
    admission = Admission(1, wait_seconds=10.0, clock=lambda: now)
    first = admission.place()
    now = 3.0
    first.leave()
    admission.place()
    admission.count_elsewhere({"eve": Holding(1)})
    for _ in range(50):
        admission.place(client=Client("eve", max_requests=1))
    assert not admission.place(client=BOB).is_inside  # and was not refused: it is next, in 3 s
