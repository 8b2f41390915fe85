"""What several servers tell each other about their clients, kept by one of the cluster's processes. Knows no Ray."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Final

NEWS_SECONDS: Final = 2.0
"""A server that has told nothing for so long is gone, and its clients hold nothing there."""

LISTEN_SECONDS: Final = 0.5
"""Whoever waits for news is answered after this at the latest, and asks again."""

Amounts = tuple[int, float]
"""Requests, and seconds of audio."""


class Board:
    """The last notice of each server.

    It holds nothing that is not told anew within a second: one that is lost is replaced by an empty one.

    Args:
        clock: Seconds, ever growing.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._notices: dict[str, tuple[float, Mapping[str, Amounts]]] = {}
        self._news = asyncio.Event()

    async def tell(self, server: str, held: Mapping[str, Amounts]) -> None:
        """Put up what clients hold at a server, instead of what it told before."""
        self._notices[server] = (self._clock(), held)
        self._news.set()
        self._news = asyncio.Event()

    async def others(self, server: str, known: Mapping[str, Amounts]) -> dict[str, Amounts]:
        """What clients hold at all other servers together, as soon as it is not what is known already."""
        deadline = self._clock() + LISTEN_SECONDS
        while (told := self._others(server)) == known and (left := deadline - self._clock()) > 0:
            news = self._news
            try:
                async with asyncio.timeout(left):
                    await news.wait()
            except TimeoutError:
                pass
        return told

    def _others(self, server: str) -> dict[str, Amounts]:
        oldest = self._clock() - NEWS_SECONDS
        self._notices = {name: notice for name, notice in self._notices.items() if notice[0] >= oldest}
        together: defaultdict[str, Amounts] = defaultdict(lambda: (0, 0.0))
        for name, (_, told) in self._notices.items():
            for client, (requests, seconds) in told.items() if name != server else ():
                before = together[client]
                together[client] = (before[0] + requests, before[1] + seconds)
        return dict(together)
