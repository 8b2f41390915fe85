"""What a real server tells systemd, heard at the socket that systemd would listen at."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from lithophone.systemd import ALIVE, READY, STOPPING, Notifier
from tests.conftest import start_server


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(20)
        yield listening


def test_a_server_says_when_it_answers_that_it_lives_and_when_it_ends(listening: socket.socket) -> None:
    environment = {"NOTIFY_SOCKET": listening.getsockname(), "WATCHDOG_USEC": "400000"}
    process, _ = start_server(environment=environment)
    heard: list[str] = []
    try:
        while READY not in heard or heard[-2:] != [ALIVE, ALIVE]:
            heard.append(listening.recv(100).decode())
        process.send_signal(signal.SIGTERM)
        while STOPPING not in heard:
            heard.append(listening.recv(100).decode())
    finally:
        process.terminate()
        process.communicate(timeout=20)
    assert process.returncode == 0
    assert heard.count(READY) == heard.count(STOPPING) == 1


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"WATCHDOG_USEC": "20000"}, True),
        ({"WATCHDOG_USEC": "20000", "WATCHDOG_PID": str(os.getpid())}, True),
        ({"WATCHDOG_USEC": "20000", "WATCHDOG_PID": "1"}, False),
        ({"WATCHDOG_USEC": "soon"}, False),
        ({}, False),
    ],
)
def test_it_says_that_it_lives_only_where_it_is_watched(
    listening: socket.socket, environment: dict[str, str], says: bool
) -> None:
    notifier = Notifier.of({"NOTIFY_SOCKET": listening.getsockname(), **environment})

    async def scenario() -> None:
        alive = asyncio.create_task(notifier.stay_alive())
        await asyncio.sleep(0.1)
        alive.cancel()

    asyncio.run(scenario())
    listening.settimeout(0.05)
    if says:
        assert [listening.recv(100) for _ in range(3)] == [ALIVE.encode()] * 3
    else:
        with pytest.raises(TimeoutError):
            listening.recv(100)


def test_an_abstract_name_is_reached_and_nobody_there_is_no_failure() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0lithophone-test-{os.getpid()}")
        listening.settimeout(5)
        notifier = Notifier(f"@lithophone-test-{os.getpid()}")
        notifier.tell(READY)
        assert listening.recv(100) == READY.encode()
    notifier.tell(READY)
    Notifier().tell(READY)
