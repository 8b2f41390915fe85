"""Connections that do nothing, too many of them, and some that do not speak HTTP; against the acceptor itself."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from uvicorn.config import Config
from uvicorn.server import ServerState

from lithophone.engine.descriptors import allowed_by
from lithophone.http.connections import Acceptor, Connection, Connections

pytestmark = pytest.mark.anyio
REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def say_hello(scope: Any, _: Any, send: Callable[[Any], Awaitable[None]]) -> None:
    if scope["path"] == "/slow":
        await asyncio.sleep(0.5)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"hi"})


class Served:
    def __init__(self, port: int, connections: Connections) -> None:
        self.connections = connections
        self._port = port
        self._writers: list[asyncio.StreamWriter] = []

    async def connect(self, first: bytes = b"") -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers.append(writer)
        writer.write(first)
        return reader, writer

    def leave(self) -> None:
        for writer in self._writers:
            writer.close()


@asynccontextmanager
async def serving(max_count: int = 100, head_seconds: float = 5.0) -> AsyncGenerator[Served]:
    config = Config(say_hello, lifespan="off", log_config=None)
    config.load()
    state, connections = ServerState(), Connections(max_count, head_seconds)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        acceptor = Acceptor(listener, connections, lambda: Connection(config, state, {}, connections), None)
        served = Served(listener.getsockname()[1], connections)
        try:
            yield served
        finally:
            served.leave()
            acceptor.close()
            await acceptor.wait_closed()


async def answer(client: Client, seconds: float = 5.0) -> bytes:
    async with asyncio.timeout(seconds):
        return await client[0].read(4000)


async def ends(client: Client, seconds: float = 5.0) -> bool:
    try:
        return await answer(client, seconds) == b""
    except ConnectionResetError:
        return True


async def test_a_connection_that_sends_nothing_ends() -> None:
    async with serving(head_seconds=0.1) as served:
        assert await ends(await served.connect())
        assert served.connections.count == 0


async def test_a_head_that_comes_byte_by_byte_ends_too_also_after_a_request() -> None:
    async with serving(head_seconds=0.2) as served:
        for first in (b"", REQUEST):
            client = await served.connect(first)
            if first:
                assert b"200" in await answer(client)
            with pytest.raises(OSError, match=r"."):  # noqa: PT012 - how long it goes on is what is asked
                for _ in range(100):
                    client[1].write(b"G")
                    await client[1].drain()
                    await asyncio.sleep(0.02)


async def test_the_longest_idle_one_makes_room_and_requests_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lithophone.http.connections.IDLE_SECONDS", 0.02)
    monkeypatch.setattr("lithophone.http.connections.RETRY_SECONDS", 0.02)
    async with serving(max_count=3) as served:
        busy = await served.connect(REQUEST.replace(b"/ ", b"/slow "))
        idle = [await served.connect() for _ in range(20)]
        assert b"200" in await answer(await served.connect(REQUEST))
        assert await ends(idle[0])
        assert b"200" in await answer(busy)
        assert served.connections.count <= 3


async def test_where_all_are_at_work_the_next_one_waits() -> None:
    async with serving(max_count=2) as served:
        clients = [await served.connect(REQUEST.replace(b"/ ", b"/slow ")) for _ in range(5)]
        assert served.connections.count <= 2
        assert all(b"200" in one for one in await asyncio.gather(*(answer(client) for client in clients)))


async def test_what_comes_after_an_answer_that_did_not_wait_for_it_is_not_read_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lithophone.http.connections.LINGER_SECONDS", 0.2)
    async with serving() as served:
        client = await served.connect(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        assert b"200" in await answer(client)
        assert await ends(client)


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 100_000,
    ],
)
async def test_what_is_no_http_is_told_in_the_error_shape(sent: bytes) -> None:
    async with serving() as served:
        client = await served.connect(sent)
        head, _, body = (await answer(client)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 ")
        assert b"x-request-id: req_" in head
        assert set(json.loads(body)["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    ("descriptors", "expected"), [(40, (5, 10)), (1000, (32, 436)), (60_000, (32, 4096)), (-5, (1, 2))]
)
def test_descriptors_are_shared_between_requests_and_connections(
    descriptors: int, expected: tuple[int, int]
) -> None:
    assert allowed_by(descriptors, max_requests=32, max_connections=4096) == expected
