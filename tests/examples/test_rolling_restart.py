"""`examples/deploy/rolling_restart`: servers follow one another on a port under load, and no request fails."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import socket
import subprocess
import sys
import threading
import wave
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from wyoming.asr import TranscriptStop
from wyoming.audio import wav_to_chunks
from wyoming.client import AsyncTcpClient
from wyoming.error import Error

from lithophone.listener import bound, send_new_to_newest
from tests.http.conftest import SHORT, eventually

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "examples" / "deploy" / "rolling_restart"
PAUSE_SECONDS = 0.1  # between two requests of a client: the new server has to load beside them

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="ports are shared so on Linux alone")


class Restarts:
    """Servers on one port, one after the other."""

    def __init__(self, folder: Path, port: int, wyoming_port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.wyoming_port = wyoming_port
        self.pid_file = folder / "pid"
        self._log = folder / "log"
        flags = ["serve", "--reuse-port", "--port", str(port), "--cpu-threads", "1", "--hosts", "thread"]
        flags += ["--wyoming-port", str(wyoming_port)]
        self._command = [
            str(SCRIPT),
            str(self.pid_file),
            str(self._log),
            sys.executable,
            "-m",
            "lithophone",
            *flags,
        ]

    def restart(self) -> None:
        """A new server in place of the old."""
        done = subprocess.run(self._command, capture_output=True, text=True, timeout=280, check=False)
        assert done.returncode == 0, done.stderr

    @property
    def process(self) -> int:
        """That of the server that is there."""
        return int(self.pid_file.read_text())

    def fails(self, *flags: str) -> str:
        """What is said where the new server does not start."""
        done = subprocess.run(
            [*self._command, *flags], capture_output=True, text=True, timeout=280, check=False
        )
        assert done.returncode == 1
        return done.stderr

    def end(self) -> None:
        os.kill(self.process, signal.SIGKILL)


@pytest.fixture(scope="module")
def restarts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Restarts]:
    with bound("127.0.0.1", 0) as taken, bound("127.0.0.1", 0) as also_taken:
        ports = (taken.getsockname()[1], also_taken.getsockname()[1])
    made = Restarts(tmp_path_factory.mktemp("servers"), *ports)
    made.restart()
    yield made
    with suppress(ProcessLookupError):
        made.end()


class Load:
    """Clients that ask all the time, over connections that they keep and over new ones, and by Home Assistant's protocol."""

    def __init__(self, url: str, wyoming_port: int) -> None:
        self.url = url
        self.wyoming_port = wyoming_port
        self.outcomes: Counter[str] = Counter()
        self._ended = threading.Event()
        self._lock = threading.Lock()

    def goes_on(self) -> None:
        """Wait for some answers."""
        before = self.outcomes.total()
        eventually(lambda: self.outcomes.total() > before + 5)

    @contextmanager
    def under_way(self) -> Iterator[None]:
        clients = [threading.Thread(target=self._ask, args=(keeps,)) for keeps in (True, True, False)]
        clients.append(threading.Thread(target=self._speak))
        for client in clients:
            client.start()
        try:
            yield
        finally:
            self._ended.set()
            for client in clients:
                client.join()

    def _ask(self, keeps: bool) -> None:
        while not self._ended.is_set():
            with httpx.Client(base_url=self.url, timeout=30) as client:
                for _ in range(10_000 if keeps else 1):
                    self._count(client)
                    if self._ended.is_set():
                        break

    def _count(self, client: httpx.Client) -> None:
        try:
            answer = client.post(
                "/v1/audio/transcriptions", files={"file": ("a.wav", SHORT)}, data={"model": "whisper-1"}
            )
            outcome = str(answer.status_code)
        except httpx.HTTPError as error:
            outcome = repr(error)
        self._note(outcome)

    def _speak(self) -> None:
        while not self._ended.is_set():
            try:
                self._note(asyncio.run(spoken(self.wyoming_port)))
            except OSError as error:
                self._note(repr(error))

    def _note(self, outcome: str) -> None:
        with self._lock:
            self.outcomes[outcome] += 1
        self._ended.wait(PAUSE_SECONDS)


async def spoken(port: int) -> str:
    """What one utterance ends with; a transcript in the end."""
    async with AsyncTcpClient("127.0.0.1", port, read_timeout=30) as client:
        with wave.open(io.BytesIO(SHORT), "rb") as recording:
            for event in wav_to_chunks(recording, 1024, start_event=True, stop_event=True):
                await client.write_event(event.event())
        while (event := await client.read_event()) is not None:
            if TranscriptStop.is_type(event.type):
                return "transcript"
            if Error.is_type(event.type):
                return Error.from_event(event).text
    return "hung up"


def test_a_server_that_does_not_start_leaves_the_old_one_be(restarts: Restarts) -> None:
    assert "the old one goes on. lithophone: " in restarts.fails("--model", "./no/such/folder")
    assert httpx.get(f"{restarts.url}/ready").status_code == 200


@pytest.mark.parametrize("times", [1, pytest.param(10, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_no_request_fails_while_servers_follow_one_another_and_sessions_are_told(
    restarts: Restarts, times: int
) -> None:
    load = Load(restarts.url, restarts.wyoming_port)
    with load.under_way():
        for _ in range(times):
            load.goes_on()
            with connect(restarts.url.replace("http", "ws") + "/v1/realtime?intent=transcription") as session:
                session.recv(10)
                before = restarts.process
                restarts.restart()
                assert restarts.process != before
                with pytest.raises(ConnectionClosed) as closed:
                    session.recv(10)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
        load.goes_on()
    assert set(load.outcomes) == {"200", "transcript"}, load.outcomes


def test_a_port_is_not_shared_with_a_server_that_does_not_share_it() -> None:
    with bound("127.0.0.1", 0) as taken, pytest.raises(Exception, match="in use"):
        bound("127.0.0.1", taken.getsockname()[1], shared=True)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_new_connections_go_to_the_newest(host: str) -> None:
    with bound(host, 0, shared=True) as old:
        port = old.getsockname()[1]
        old.listen()
        with bound(host, port, shared=True) as new:
            assert send_new_to_newest(old)
            asked(host, port, old)  # the new one does not listen yet
            new.listen()
            asked(host, port, new)
            old.close()
            asked(host, port, new)
            with bound(host, port, shared=True) as newer:
                newer.listen()
                asked(host, port, newer)


def asked(host: str, port: int, taker: socket.socket) -> None:
    """Several connections, all of which come to one socket."""

    taker.settimeout(2)
    for _ in range(20):
        with socket.create_connection((host, port), timeout=2):
            taker.accept()[0].close()
