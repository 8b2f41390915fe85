"""Limits of a client that hold for several servers together.

Every server tells the others what each client holds as that changes, and counts what they tell. No request waits for that: so a
client may get beyond its limit by what comes in at several servers within a tenth of a second. Where the others cannot be
reached, each server counts for itself, as if it were alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, Protocol

import structlog

from lithophone.engine.admission import Admission
from lithophone.engine.fairness import Holding
from lithophone.hosts.ray_serve.board import Amounts

log = structlog.get_logger(__name__)

LEAST_SECONDS: Final = 0.05  # between two times of telling, however much changes
MOST_SECONDS: Final = 0.5
"""Between two times of telling, though nothing changes: others would think this server gone."""

PATIENCE_SECONDS: Final = 2.0
"""What others told is forgotten after so long without them: they may be gone."""


class Noticeboard(Protocol):
    """Where servers tell each other what clients hold. Any error means that it cannot be reached just now."""

    async def tell(self, held: Mapping[str, Amounts]) -> None:
        """Put up what clients hold here."""
        ...

    async def others(self, known: Mapping[str, Amounts]) -> Mapping[str, Amounts]:
        """What they hold at all the others together, when that is not what is known already, or after a moment."""
        ...


async def share_limits(admission: Admission, board: Noticeboard) -> None:
    """Tell and hear what clients hold, until cancelled."""
    async with asyncio.TaskGroup() as both:
        both.create_task(_tell(admission, board))
        both.create_task(_hear(admission, board))


async def _tell(admission: Admission, board: Noticeboard) -> None:
    while True:
        changed = admission.holdings_changed()
        held = {name: (one.requests, one.audio_seconds) for name, one in admission.holdings.items()}
        with suppress(Exception):  # `_hear` meets it too, and says so
            async with asyncio.timeout(PATIENCE_SECONDS):
                await board.tell(held)
        await asyncio.sleep(LEAST_SECONDS)
        with suppress(TimeoutError):
            async with asyncio.timeout(MOST_SECONDS):
                await changed.wait()


async def _hear(admission: Admission, board: Noticeboard) -> None:
    time_of = asyncio.get_running_loop().time
    heard, alone = time_of(), False
    known: Mapping[str, Amounts] = {}
    while True:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                known = await board.others(known)
        except Exception as error:  # noqa: BLE001 - whatever it is, requests go on
            if not alone and time_of() - heard >= PATIENCE_SECONDS:
                alone, known = True, {}
                log.warning("limits_not_shared", reason=str(error) or type(error).__name__)
                admission.count_elsewhere({})
            await asyncio.sleep(LEAST_SECONDS)
        else:
            if alone:
                log.info("limits_shared_again")
            heard, alone = time_of(), False
            admission.count_elsewhere({name: Holding(*amounts) for name, amounts in known.items()})
