"""Connections: how many, how long one may do nothing, and what is said to one that does not speak HTTP.

Owns the way from the listening socket to uvicorn's protocol. What is accepted stays below what descriptors allow: where all
connections are taken, the one that has been idle longest makes room, and where none is idle the next one waits in the
system's line. So no descriptor is ever lacking in the middle of a request, and nothing spins.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import h11
import msgspec
import structlog
from uvicorn.protocols.http.h11_impl import H11Protocol

from lithophone.errors import InvalidRequestError, shortage_behind
from lithophone.http.errors import envelope

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState

log = structlog.get_logger(__name__)

LINGER_SECONDS: Final = 2.0  # for a client to read its answer before the connection is cut
RETRY_SECONDS: Final = 0.25
IDLE_SECONDS: Final = 1.0
"""Before that, a connection may only have a request on its way that was not read yet."""

HANDSHAKE_SECONDS: Final = 10.0


class Connection(H11Protocol):
    """uvicorn's connection, with an end to those that send no whole request head and those that do not read."""

    def __init__(
        self, config: Config, state: ServerState, app_state: dict[str, Any], connections: Connections
    ) -> None:
        super().__init__(config, state, app_state)
        self._all = connections
        self._timer: asyncio.TimerHandle | None = None
        self._is_socket = False
        self.idle_since = 0.0

    @property
    def is_idle(self) -> bool:
        """No request is being answered."""
        return self.cycle is None or self.cycle.response_complete  # pyright: ignore[reportUnnecessaryComparison] - None at first

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - uvicorn's
        """The first request's head is waited for."""
        super().connection_made(transport)
        self._all.opened(self)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Whatever the reason."""
        self._stop_timer()
        super().connection_lost(exc)
        self._all.closed(self)

    def data_received(self, data: bytes) -> None:
        """A part of a head does not make the time longer."""
        super().data_received(data)
        if self._is_socket:
            return
        if not self.is_idle:
            self._stop_timer()
        elif self._timer is None and not self.transport.is_closing():
            self._wait_for_head()

    def on_response_complete(self) -> None:
        """A body that was not read to its end is not read any more."""
        self.idle_since = self.loop.time()
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY:
            self._end_after(LINGER_SECONDS)

    def timeout_keep_alive_handler(self) -> None:
        """Close; what the client does not read is given up."""
        super().timeout_keep_alive_handler()
        self._end_after(LINGER_SECONDS)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """The socket has rules of its own."""
        self._stop_timer()
        self._is_socket = True
        self._all.upgraded(self)
        super().handle_websocket_upgrade(event)

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP is told so in the error shape, as far as HTTP allows."""
        with suppress(h11.LocalProtocolError):
            body = msgspec.json.encode(envelope(InvalidRequestError(msg)))
            headers = [
                ("content-type", "application/json"),
                ("content-length", str(len(body))),
                ("x-request-id", f"req_{uuid.uuid4().hex}"),
                ("openai-processing-ms", "0"),
                ("connection", "close"),
            ]
            for event in (
                h11.Response(status_code=400, headers=headers, reason=b"Bad Request"),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
        self._end_after(LINGER_SECONDS)

    def end(self) -> None:
        """At once; what was not sent yet is lost."""
        self._stop_timer()
        self.transport.abort()

    def _wait_for_head(self) -> None:
        self.idle_since = self.loop.time()
        self._end_after(self._all.head_seconds)

    def _end_after(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, self.end)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Connections:
    """All connections of a server.

    Args:
        max_count: How many there may be at once.
        head_seconds: How long the head of a request may take.
    """

    def __init__(self, max_count: int, head_seconds: float) -> None:
        self.head_seconds = head_seconds
        self._max_count = max_count
        self._open: set[Connection] = set()
        self._sockets: set[asyncio.Transport] = set()
        self._changed = asyncio.Event()

    @property
    def count(self) -> int:
        """Those that speak HTTP, and WebSockets."""
        self._sockets = {one for one in self._sockets if not one.is_closing()}
        return len(self._open) + len(self._sockets)

    def opened(self, connection: Connection) -> None:
        """One more."""
        self._open.add(connection)

    def closed(self, connection: Connection) -> None:
        """One less."""
        self._open.discard(connection)
        self._changed.set()

    def upgraded(self, connection: Connection) -> None:
        """It is a WebSocket from now on."""
        self._open.discard(connection)
        self._sockets.add(connection.transport)

    async def room(self) -> None:
        """Wait until there may be one more; the longest idle one is ended for it."""
        while self.count >= self._max_count:
            self._changed.clear()
            if self.end_longest_idle():
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(RETRY_SECONDS):
                    await self._changed.wait()

    def end_longest_idle(self) -> bool:
        """Make room; whether there was an idle one."""
        before = asyncio.get_running_loop().time() - IDLE_SECONDS
        idle = [one for one in self._open if one.is_idle and one.idle_since <= before]
        if idle:
            longest = min(idle, key=lambda one: one.idle_since)
            self._open.discard(longest)
            longest.end()
        return bool(idle)


class Acceptor:
    """Accepts connections one by one, as there is room. Looks like an `asyncio.Server` to uvicorn.

    Args:
        listener: The socket, which listens already or does once `opened` is done.
        connections: Those that there are.
        make: A protocol for each.
        tls: To serve HTTPS.
        opened: What is waited for before anything is accepted.
    """

    def __init__(
        self,
        listener: socket.socket,
        connections: Connections,
        make: Callable[[], Connection],
        tls: ssl.SSLContext | None,
        opened: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._opened = opened
        listener.settimeout(0)
        self._listener = listener
        self._connections = connections
        self._make = make
        self._tls = tls
        self._handshakes: set[asyncio.Task[None]] = set()
        self._accepting = asyncio.create_task(self._accept_all())

    def close(self) -> None:
        """Accept no more."""
        self._accepting.cancel()

    async def wait_closed(self) -> None:
        """Until it does not."""
        await asyncio.wait((self._accepting,))

    async def _accept_all(self) -> None:
        loop, lacking = asyncio.get_running_loop(), False
        if self._opened is not None:
            await self._opened()
        while True:
            await self._connections.room()
            try:
                accepted, _ = await loop.sock_accept(self._listener)
            except OSError as error:
                if shortage_behind(error) is None:  # the client is gone already
                    continue
                if not lacking:
                    log.warning("shortage", lacking=f"connections: {error.strerror}")
                lacking = True
                self._connections.end_longest_idle()
                await asyncio.sleep(RETRY_SECONDS)
            else:
                lacking = False
                await self._begin(accepted)

    async def _begin(self, accepted: socket.socket) -> None:
        handshake = asyncio.create_task(self._connect(accepted))
        if self._tls is None:
            await handshake
            return
        self._handshakes.add(handshake)  # of TLS: the next one need not wait for it
        handshake.add_done_callback(self._handshakes.discard)

    async def _connect(self, accepted: socket.socket) -> None:
        with suppress(OSError):  # a client that is gone already, or does not speak TLS
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().connect_accepted_socket(
                self._make,
                accepted,
                ssl=self._tls,
                ssl_handshake_timeout=HANDSHAKE_SECONDS if self._tls else None,
            )
