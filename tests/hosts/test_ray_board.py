"""The notices of several servers: each hears the sum of the others, of those that still tell."""

from __future__ import annotations

import asyncio
import time

from hypothesis import given
from hypothesis import strategies as st

from lithophone.hosts.ray_serve.board import LISTEN_SECONDS, NEWS_SECONDS, Amounts, Board

amounts = st.tuples(st.integers(0, 9), st.floats(0, 1e4))
notices = st.lists(
    st.tuples(st.sampled_from("abc"), st.dictionaries(st.sampled_from("xy"), amounts), st.floats(0, 1.5)),
    max_size=30,
)


@given(notices)
def test_each_server_hears_the_last_of_all_others_that_still_tell(
    told: list[tuple[str, dict[str, Amounts], float]],
) -> None:
    now, last = 0.0, dict[str, tuple[float, dict[str, Amounts]]]()
    board = Board(lambda: now)
    for server, held, later in told:
        now += later
        asyncio.run(board.tell(server, held))
        heard = asyncio.run(board.others(server, {"nobody": (1, 1.0)}))
        last[server] = (now, held)
        fresh = [one for name, (at, one) in last.items() if name != server and now - at <= NEWS_SECONDS]
        for client in {name for one in fresh for name in one} | set(heard):
            expected = [one.get(client, (0, 0.0)) for one in fresh]
            assert heard[client][0] == sum(requests for requests, _ in expected)
            assert abs(heard[client][1] - sum(seconds for _, seconds in expected)) < 1e-6


def test_who_waits_for_news_hears_it_at_once_and_after_a_moment_that_there_is_none() -> None:
    async def scenario() -> None:
        board = Board()
        waiting = asyncio.create_task(board.others("a", {}))
        await asyncio.sleep(0.01)
        await board.tell("a", {"x": (1, 2.0)})  # its own is none
        await asyncio.sleep(0.01)
        assert not waiting.done()
        began = time.monotonic()
        await board.tell("b", {"x": (3, 4.0)})
        known = await waiting
        assert known == {"x": (3, 4.0)}
        assert time.monotonic() - began < LISTEN_SECONDS / 2
        assert await board.others("a", known) == known
        assert time.monotonic() - began >= LISTEN_SECONDS

    asyncio.run(scenario())
