"""The door: uvicorn, with an end in which nobody is cut off.

Owns what signals mean. SIGTERM and SIGINT close the door and let running requests and live sessions finish; with a port that
is shared, a newer server takes over first.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Final, NamedTuple, cast

import structlog
import uvicorn

from lithophone.engine.admission import Admission
from lithophone.errors import ServiceError
from lithophone.http.realtime.places import LivePlaces
from lithophone.listener import BACKLOG, send_new_to_newest
from lithophone.systemd import STOPPING, Notifier

if TYPE_CHECKING:
    from lithophone.doors.wyoming import Door
    from lithophone.http.connections import Connections

log = structlog.get_logger(__name__)

LAST_WORDS_SECONDS: Final = 2  # to tell requests that the end has come
INTERRUPT_GRACE_SECONDS: Final = 2
"""How long running requests may take to finish after Ctrl-C: somebody sits there and waits."""

HAND_OVER_SECONDS: Final = 6.0
"""How long a server that shares its port goes on after SIGTERM: a connection that does nothing is closed after five anyway."""


class Entrances(NamedTuple):
    """Who may come in: requests, and live sessions."""

    admission: Admission
    places: LivePlaces


class SideDoor(NamedTuple):
    """Home Assistant's: its socket, and who comes by it."""

    listener: socket.socket
    door: Door


class LodgersServer(uvicorn.Server):
    """uvicorn beside something else in one process, to whom signals belong."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """None of them."""
        yield


class Server(uvicorn.Server):
    """uvicorn, closing the door as soon as a signal comes, or with a shared port once a newer server takes over.

    Args:
        config: uvicorn's.
        entrances: Who may come in.
        listener: The socket.
        connections: All of them.
        notifier: Tells systemd.
        on_interrupt: Called at the first Ctrl-C.
        ready: With a port that is shared, what is waited for before it is listened on; None listens on it already.
        side_door: That of Home Assistant, which opens and closes with this one.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        entrances: Entrances,
        listener: socket.socket,
        connections: Connections,
        notifier: Notifier | None = None,
        *,
        on_interrupt: Callable[[], None] = lambda: None,
        ready: Callable[[], Awaitable[object]] | None = None,
        side_door: SideDoor | None = None,
    ) -> None:
        super().__init__(config)
        self._ready = ready
        self._on_interrupt = on_interrupt
        self._side_door = side_door
        self._shares = False
        self._leaving: asyncio.TimerHandle | None = None
        self._notifier = notifier or Notifier()
        self._entrances = entrances
        self._listener = listener
        self._connections = connections
        self._listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the door, and say so."""
        from lithophone.http.connections import Acceptor, Connection  # noqa: PLC0415 - while the model loads

        await super().startup([])
        self.servers = cast(
            "list[asyncio.Server]",
            [
                Acceptor(
                    socket,
                    self._connections,
                    lambda: Connection(
                        self.config, self.server_state, self.lifespan.state, self._connections
                    ),
                    self.config.ssl,
                    None if self._ready is None else partial(self._join, self._ready),
                )
                for socket in sockets or ()
            ],
        )
        if self._ready is None:
            self._listening.set()

    async def _join(self, ready: Callable[[], Awaitable[object]]) -> None:
        """Listen on the shared port once the model answers; if it never does, the server ends by that."""
        try:
            await ready()
        except ServiceError:
            await asyncio.Event().wait()
        self._listener.listen(BACKLOG)
        if self._side_door is not None:
            await self._side_door.door.join()
        self._shares = True
        self._listening.set()

    async def _part(self) -> None:
        """Listen on the shared port no more, so that the system does not reckon with this server."""
        for server in self.servers:
            server.close()
            await server.wait_closed()
        self._listener.close()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Running requests may finish, or are told at the end of the grace; live sessions say what they have heard.

        uvicorn itself would cut both.
        """
        if self._ready is not None:
            await self._part()
        grace = self.config.timeout_graceful_shutdown or 0
        self.config.timeout_graceful_shutdown = grace + LAST_WORDS_SECONDS
        ending = asyncio.get_running_loop().call_later(grace, self._entrances.admission.deadlines.end)
        drains = [self._entrances.places.drain(grace, lambda: self.force_exit)]
        if self._side_door is not None:
            drains.append(self._side_door.door.drain(grace, lambda: self.force_exit))
        await asyncio.gather(*drains)
        await super().shutdown(sockets)
        ending.cancel()

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Uvicorn's signals, and the end of a terminal, unless whoever started the server let it be ignored."""
        with super().capture_signals():
            before = signal.getsignal(signal.SIGHUP)
            ours = threading.current_thread() is threading.main_thread() and before is not signal.SIG_IGN
            if ours:
                signal.signal(signal.SIGHUP, self.handle_exit)
            yield
            if ours:
                signal.signal(signal.SIGHUP, before)

    async def url(self) -> str:
        """Where the server listens, once it does."""
        await self._listening.wait()
        host, port = self._listener.getsockname()[:2]
        shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104 - shown, not bound
        return f"{'https' if self.config.is_ssl else 'http'}://{shown}:{port}"

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        """Drain, then end; who typed Ctrl-C waits for seconds alone, and after a second one not at all.

        uvicorn's own handler would raise the signal again after an orderly end, and the exit code would tell of a crash.
        """
        if self._shares and sig != signal.SIGINT and self._leaving is None:
            self._hand_over(sig)
            return
        log.info("draining", signal=signal.Signals(sig).name)
        self._notifier.tell(STOPPING)
        self._entrances.admission.drain()
        if sig == signal.SIGINT:
            if self.should_exit:
                self._end_now()
            else:
                self._on_interrupt()
            grace = self.config.timeout_graceful_shutdown or 0
            self.config.timeout_graceful_shutdown = min(grace, INTERRUPT_GRACE_SECONDS)
        self.should_exit = True

    def _hand_over(self, sig: int) -> None:
        """New connections go to the newer server; those that are there end with their next answer, and then this one drains."""
        log.info("handing_over", to_newest=send_new_to_newest(self._listener))
        if self._side_door is not None:
            send_new_to_newest(self._side_door.listener)
        self._notifier.tell(STOPPING)
        self._entrances.admission.leaving = True
        self._leaving = asyncio.get_running_loop().call_later(HAND_OVER_SECONDS, self.handle_exit, sig, None)

    def _end_now(self) -> None:
        """Tell running requests, and do not wait for more than that; the next time not even so long."""
        loop = asyncio.get_running_loop()
        self.force_exit = self._entrances.admission.deadlines.over
        loop.call_soon_threadsafe(self._entrances.admission.deadlines.end)
        loop.call_later(LAST_WORDS_SECONDS, self._stop_waiting)

    def _stop_waiting(self) -> None:
        self.force_exit = True
