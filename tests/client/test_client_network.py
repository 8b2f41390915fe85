"""Both clients over real sockets: a small server of the standard library that keeps what it gets."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from lithophone_client import AsyncLithophone, CannotConnectError, Done, TextDelta, TimedOutError

Ask = Callable[..., Any]

AUDIO = bytes(range(256)) * 1024  # several pieces of an upload
EVENTS = [
    b'data: {"type":"transcript.text.delta","delta":"gr\xc3',
    b'\xbcn"}\n\ndata: {"type":"transcript.text.done","text":"gr\xc3\xbcn"}\n',
    b"\ndata: [DONE]\n\n",
]


class Requests(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Any

    def do_POST(self) -> None:
        body = self._body()
        self.server.received.append((self.headers, body))
        if self.path.startswith("/silent"):
            self.server.released.wait(10)
        if b'name="stream"' in body.partition(b"RIFF")[0]:
            return self._stream()
        return self._answer(200, b'{"text":"hi"}')

    def _body(self) -> bytes:
        if "Content-Length" in self.headers:
            return self.rfile.read(int(self.headers["Content-Length"]))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for chunk in [*EVENTS, b""]:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            self.wfile.flush()
            time.sleep(0.02)

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Keep quiet."""


class Server(ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Requests)
        self.received: list[tuple[Any, bytes]] = []
        self.released = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.released.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    path = tmp_path / "talk.wav"
    path.write_bytes(b"RIFF" + AUDIO)
    return path


def test_a_file_arrives_whole_and_with_its_length(ask: Ask, server: Server, talk: Path) -> None:
    assert ask(server.url, "transcribe", talk).text == "hi"
    headers, body = server.received[-1]
    assert talk.read_bytes() in body
    assert int(headers["Content-Length"]) == len(body)


def test_an_upload_says_how_far_it_is(ask: Ask, server: Server, talk: Path) -> None:
    for file, whole in ((talk, 4 + len(AUDIO)), (AUDIO, len(AUDIO))):
        told: list[tuple[int, int | None]] = []
        ask(server.url, "transcribe", file, on_upload=lambda *now, told=told: told.append(now))
        assert told[0] == (0, whole)
        assert told[-1] == (whole, whole)
        assert [sent for sent, _ in told] == sorted({sent for sent, _ in told})
        assert len(told) > 2
    assert b"on_upload" not in server.received[-1][1]


def test_a_pipe_arrives_whole_in_chunks(ask: Ask, server: Server) -> None:
    read_end, write_end = os.pipe()

    def write() -> None:
        with os.fdopen(write_end, "wb") as writer:
            writer.write(b"RIFF" + AUDIO)

    writing = threading.Thread(target=write)
    writing.start()
    with os.fdopen(read_end, "rb") as pipe:
        assert ask(server.url, "transcribe", pipe).text == "hi"
    writing.join()
    headers, body = server.received[-1]
    assert headers["Transfer-Encoding"] == "chunked"
    assert b"RIFF" + AUDIO in body


def test_waiting_for_the_writer_of_a_pipe_does_not_stop_the_event_loop(
    server: Server, tmp_path: Path
) -> None:
    path = tmp_path / "talk.wav"
    os.mkfifo(path)
    loop_went_on = threading.Event()

    def write() -> bool:
        in_time = loop_went_on.wait(5)
        path.write_bytes(b"RIFF")
        return in_time

    async def ask() -> bool:
        async with AsyncLithophone(server.url) as client:
            writing = asyncio.create_task(asyncio.to_thread(write))
            asking = asyncio.create_task(client.transcribe(path))
            await asyncio.sleep(0.05)
            loop_went_on.set()
            await asking
            return await writing

    assert asyncio.run(ask())
    assert b"RIFF" in server.received[-1][1]


def test_a_file_is_never_read_whole(ask: Ask, server: Server, talk: Path) -> None:
    class Watched:
        name = "talk.wav"
        largest_read_bytes = 0

        def __init__(self, file: BinaryIO) -> None:
            self.seek, self.tell, self.seekable, self._file = file.seek, file.tell, file.seekable, file

        def read(self, size: int) -> bytes:
            Watched.largest_read_bytes = max(Watched.largest_read_bytes, size)
            return self._file.read(size)

    with talk.open("rb") as file:
        ask(server.url, "transcribe", Watched(file))
    assert 0 < Watched.largest_read_bytes < len(AUDIO)


def test_a_stream_arrives_whatever_the_network_cuts(ask: Ask, server: Server, talk: Path) -> None:
    assert ask(server.url, "stream", talk) == [TextDelta(delta="grün"), Done(text="grün")]


def test_a_silent_server_times_out(ask: Ask, server: Server) -> None:
    with pytest.raises(TimedOutError):
        ask(f"{server.url}/silent", "transcribe", b"RIFF", client={"timeout_seconds": 0.1})
    assert len(server.received) == 1


def test_nobody_there_cannot_be_connected_to(ask: Ask) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refuses
        with pytest.raises(CannotConnectError):
            ask(f"http://127.0.0.1:{taken.getsockname()[1]}", "ready")


def test_a_missing_file_is_the_callers_error(ask: Ask, server: Server, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        ask(server.url, "transcribe", tmp_path / "none.wav")
    assert server.received == []
