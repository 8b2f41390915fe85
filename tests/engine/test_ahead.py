"""How many windows of a job run ahead of what is written."""

from __future__ import annotations

import asyncio

import pytest

from lithophone.engine.ahead import LEAST_UNDERWAY, MOST_UNWRITTEN, Ahead

SOON_SECONDS = 0.05


async def filled(ahead: Ahead[int], most: int = 1000) -> list[asyncio.Future[object]]:
    """Put windows into the queue until it has no room."""
    put: list[asyncio.Future[object]] = []
    try:
        async with asyncio.timeout(SOON_SECONDS):
            while len(put) < most:
                await ahead.room()
                put.append(asyncio.get_running_loop().create_future())
                ahead.put(len(put), put[-1])
    except TimeoutError:
        pass
    return put


@pytest.mark.parametrize(("wants_more", "most"), [(False, LEAST_UNDERWAY), (True, MOST_UNWRITTEN)])
def test_the_least_goes_ahead_always_and_more_while_the_model_wants_it(wants_more: bool, most: int) -> None:
    async def put() -> int:
        return len(await filled(Ahead[int](lambda: wants_more)))

    assert asyncio.run(put()) == most


def test_a_window_that_is_written_makes_room_for_one() -> None:
    async def put() -> int:
        ahead = Ahead[int](lambda: False)
        underway = await filled(ahead)
        more = asyncio.create_task(filled(ahead))
        await asyncio.sleep(0)
        underway[0].set_result(None)
        assert await ahead.get() == 1
        return len(await more)

    assert asyncio.run(put()) == 1


def test_windows_that_are_done_behind_a_slow_one_hold_up_nothing_the_model_wants() -> None:
    async def put() -> int:
        wanted = True
        ahead = Ahead[int](lambda: wanted)
        underway = await filled(ahead, 8)
        wanted = False
        for one in underway[1:]:
            one.set_result(None)
        wanted = True
        return len(await filled(ahead, 4))

    assert asyncio.run(put()) == 4


def test_a_client_that_does_not_read_holds_up_all_but_the_least() -> None:
    async def put() -> tuple[int, int]:
        ahead = Ahead[int](lambda: True)
        with ahead.held_up():
            held = len(await filled(ahead))
            waiting = asyncio.create_task(ahead.room())
            await asyncio.sleep(0)
            assert not waiting.done()
        await waiting
        return held, len(await filled(ahead))

    assert asyncio.run(put()) == (LEAST_UNDERWAY, MOST_UNWRITTEN - LEAST_UNDERWAY)
