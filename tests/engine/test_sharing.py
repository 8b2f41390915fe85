"""What clients hold at other servers counts here, as long as they can be reached."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress

import pytest
from structlog.testing import capture_logs

from lithophone.engine import sharing
from lithophone.engine.admission import Admission
from lithophone.engine.fairness import Client, Holding
from lithophone.engine.sharing import Noticeboard, share_limits

pytestmark = pytest.mark.anyio

ANN = Client("ann", max_requests=2)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Told:
    """A board with what the others hold; how it fares is set by the test."""

    def __init__(self) -> None:
        self.elsewhere: dict[str, tuple[int, float]] = {}
        self.told: list[Mapping[str, tuple[int, float]]] = []
        self.failure: Exception | None = None
        self.hangs = False

    async def tell(self, held: Mapping[str, tuple[int, float]]) -> None:
        await self.reached()
        self.told.append(held)

    async def others(self, known: Mapping[str, tuple[int, float]]) -> Mapping[str, tuple[int, float]]:
        await self.reached()
        for _ in range(10):
            if self.elsewhere != known:
                break
            await asyncio.sleep(0.005)
        return self.elsewhere

    async def reached(self) -> None:
        await asyncio.sleep(100 if self.hangs else 0)
        if self.failure is not None:
            raise self.failure


@asynccontextmanager
async def shared(admission: Admission, board: Noticeboard) -> AsyncGenerator[None]:
    sharing_limits = asyncio.create_task(share_limits(admission, board))
    try:
        yield
    finally:
        sharing_limits.cancel()
        with suppress(asyncio.CancelledError):
            await sharing_limits


async def test_a_client_waits_for_what_it_holds_elsewhere_and_comes_in_when_that_is_done() -> None:
    admission, board = Admission(10), Told()
    board.elsewhere = {"ann": (2, 60.0), "bob": (1, 1.0)}
    async with shared(admission, board):
        await asyncio.sleep(0.05)
        place = admission.place(30.0, ANN)
        assert not place.is_inside
        board.elsewhere = {"ann": (1, 60.0)}
        await asyncio.wait_for(place.admitted(), 2)
        await asyncio.sleep(2 * sharing.LEAST_SECONDS)
        assert board.told[-1] == {"ann": (1, 30.0)}
        assert not admission.place(1.0, ANN).is_inside
        assert admission.place(1.0).is_inside
        place.leave()


@pytest.mark.parametrize("hangs", [False, True])
async def test_without_the_others_each_server_counts_for_itself(
    hangs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "PATIENCE_SECONDS", 0.3)
    admission, board = Admission(10), Told()
    board.elsewhere = {"ann": (2, 60.0)}
    with capture_logs() as logs:
        async with shared(admission, board):
            await asyncio.sleep(0.05)
            place = admission.place(1.0, ANN)
            board.failure, board.hangs = ConnectionError("the head is gone"), hangs
            assert not place.is_inside  # a moment's silence changes nothing
            await asyncio.wait_for(place.admitted(), 2)
            board.failure, board.hangs = None, False
            await asyncio.sleep(0.5)
            assert not admission.place(1.0, ANN).is_inside
    assert [entry["event"] for entry in logs] == ["limits_not_shared", "limits_shared_again"]
    assert admission.holdings == {"ann": Holding(1, 1.0)}


async def test_what_is_held_is_told_as_it_changes_and_now_and_then() -> None:
    admission, board = Admission(10), Told()
    async with shared(admission, board):
        await asyncio.sleep(2 * sharing.LEAST_SECONDS)
        with_two = [admission.place(10.0, ANN) for _ in range(2)]
        await asyncio.sleep(2 * sharing.LEAST_SECONDS)
        for place in with_two:
            place.leave()
        await asyncio.sleep(2 * sharing.LEAST_SECONDS)
        assert board.told == [{}, {"ann": (2, 20.0)}, {}]
        await asyncio.sleep(2 * sharing.MOST_SECONDS)
        assert 4 <= len(board.told) <= 6


async def test_who_is_kept_out_by_what_it_holds_elsewhere_waits_however_long_those_inside_may_stay() -> None:
    now = 0.0
    admission = Admission(2, wait_seconds=10.0, clock=lambda: now)
    admission.place(3600.0)
    admission.count_elsewhere({"ann": Holding(2, 60.0)})
    now = 3000.0
    place = admission.place(1.0, ANN)
    admission.count_elsewhere({})
    assert place.is_inside
