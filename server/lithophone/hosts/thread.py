"""A worker in a thread of this process: for a command that transcribes by itself, and where nothing may be spawned."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

from lithophone.backends.base import Backend, Runtime
from lithophone.hosts.base import Launch
from lithophone.hub.progress import Fetched
from lithophone.worker.loop import Worker
from lithophone.worker.messages import Command, Event, Fetching, Stop

STOP_WAIT_SECONDS: Final = 2.0  # a thread in the middle of a long computation cannot be ended


class ThreadCarrier:
    """See `Carrier`. Made in the event loop that hears of its events."""

    def __init__(
        self,
        open_backend: Callable[..., Backend],
        runtime: Runtime,
        on_event: Callable[[Event], None],
        on_end: Callable[[str], None],
        room_bytes: int | None = None,
        *,
        fetches: bool = False,
    ) -> None:
        if room_bytes is not None:
            open_backend = partial(open_backend, room_bytes=room_bytes)
        if fetches:
            open_backend = partial(open_backend, tell=self._tell_fetched)
        self._loop = asyncio.get_running_loop()
        self._on_event = on_event
        self._on_end = on_end
        self._ended = asyncio.Event()
        self._worker = Worker(open_backend, self._emit, runtime)
        self._thread = threading.Thread(target=self._run, name="lithophone-worker", daemon=True)
        self._thread.start()

    def post(self, command: Command) -> None:
        """See `Carrier`."""
        self._worker.post(command)

    async def stop(self) -> bool:
        """See `Carrier`."""
        self._worker.post(Stop())
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), STOP_WAIT_SECONDS)
        return self._ended.is_set()

    def _run(self) -> None:
        reason = "it stopped"
        try:
            self._worker.run()
        except BaseException as error:  # noqa: BLE001 - the thread ends with it, and the host must know
            reason = f"{type(error).__name__}: {error}"
        self._tell(self._end, reason)

    def _end(self, reason: str) -> None:
        self._ended.set()
        self._on_end(reason)

    def _tell_fetched(self, fetched: Fetched) -> None:
        self._emit(Fetching(fetched))

    def _emit(self, event: Event) -> None:
        self._tell(self._on_event, event)

    def _tell(self, listener: Callable[..., None], what: object) -> None:
        with suppress(RuntimeError):  # the loop has closed: nobody listens any more
            self._loop.call_soon_threadsafe(listener, what)


def in_thread(open_backend: Callable[..., Backend], runtime: Runtime, *, fetches: bool = False) -> Launch:
    """Workers in threads. `open_backend` takes the room there is as `room_bytes`, if it is limited at all.

    With `fetches` it takes `tell` too, and says by it how far a download is.
    """
    return partial(ThreadCarrier, open_backend, runtime, fetches=fetches)
