"""A worker in a process of its own: whatever a driver does to it, the server goes on.

Owns the process: its start, the pair of sockets to it, the signs that it lives, and its end. It is ended by killing it,
which gives back all of its memory, the device's too, whatever it was doing.
"""

from __future__ import annotations

import asyncio
import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final

import msgspec
import psutil
import structlog

from lithophone.hosts.base import Launch
from lithophone.hosts.description import Ping, Pong, WorkerDescription
from lithophone.hosts.frames import COUNT_BYTES, Part, decode, encode, lengths, lengths_bytes
from lithophone.worker.messages import Command, Event, Loaded

log = structlog.get_logger(__name__)

CHILD_MODULE: Final = "lithophone.child"
SOCKET_BYTES: Final = 1 << 20  # asked for; the system may allow less
STDERR_DESCRIPTOR: Final = 2
PING_SECONDS: Final = 0.25
SILENCE_SECONDS: Final = 10.0
"""A loaded worker that has not answered for so long is stuck. It answers from a thread of its own, in the middle of any
computation."""


class ProcessCarrier:
    """See `Carrier`. Made in the event loop that hears of its events."""

    def __init__(
        self,
        description: WorkerDescription,
        on_event: Callable[[Event], None],
        on_end: Callable[[str], None],
        room_bytes: int | None = None,
    ) -> None:
        description = msgspec.structs.replace(description, room_bytes=room_bytes)
        self._on_event = on_event
        self._on_end = on_end
        self._ended = asyncio.Event()
        self._verdict: str | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._unsent: list[Part] = encode(description)
        self._heard = time.monotonic()
        self._patience_seconds = math.inf  # importing and loading may hold the interpreter for longer
        ours, theirs = socket.socketpair()
        with theirs:
            _widen(ours, theirs)
            self._process = _start(theirs)
        self._life = asyncio.get_running_loop().create_task(self._live(ours))

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def post(self, command: Command | Ping) -> None:
        """See `Carrier`. To a process whose socket has closed nothing is said; its end is told in a moment."""
        parts = encode(command)
        if self._writer is None:
            self._unsent += parts
            return
        for part in parts:
            # maybe by the part before; asyncio would take no notice, and uvloop raise
            if self._writer.is_closing():
                return
            self._writer.write(part)

    async def stop(self) -> bool:
        """See `Carrier`."""
        self._process.kill()
        await self._ended.wait()
        return True

    async def _live(self, ours: socket.socket) -> None:
        """Talk to the process until it has ended, and tell how."""
        reader, self._writer = await asyncio.open_connection(sock=ours)
        for part in self._unsent:
            self._writer.write(part)
        self._unsent = []
        watching = asyncio.create_task(self._watch())
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    message = await _read(reader)
                    self._heard = time.monotonic()
                    if isinstance(message, Loaded):
                        self._patience_seconds = SILENCE_SECONDS
                    if not isinstance(message, Pong):
                        self._on_event(message)
        finally:
            watching.cancel()
            self._writer.close()
            self._process.kill()  # if it has closed the socket and lives
            code = await asyncio.to_thread(self._process.wait)
            self._ended.set()
            self._on_end(self._verdict or _exit_words(code))

    async def _watch(self) -> None:
        """Kill a process that does not answer any more; its end is then noticed as any other."""
        while True:
            pinged = time.monotonic()
            self.post(Ping())
            await asyncio.sleep(PING_SECONDS)
            self._verdict = self._judge(pinged)
            if self._verdict is not None:
                self._process.kill()
                return

    def _judge(self, pinged: float) -> str | None:
        """Why a process is to be given up that was asked whether it lives at that moment; `None` where it is not.

        One that the system has stopped (SIGSTOP) is not busy, so that there is nothing to be patient with. What is stopped
        and let go many times a second, to use less of a processor, has answered in between.
        """
        silence_seconds = time.monotonic() - self._heard
        if silence_seconds > self._patience_seconds:
            return f"it did not answer for {silence_seconds:.0f} s"
        if self._heard < pinged and _is_stopped(self._process.pid):
            return "its process was stopped"
        return None


def in_process(description: WorkerDescription) -> Launch:
    """Workers in processes, each told `description`."""
    return partial(ProcessCarrier, description)


def _start(theirs: socket.socket) -> subprocess.Popen[bytes]:
    """A fresh interpreter with the modules of this one, in a session of its own: Ctrl-C is for the server to judge."""
    command = [sys.executable, "-P", "-m", CHILD_MODULE, str(theirs.fileno())]
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=STDERR_DESCRIPTOR,  # the server's own standard output is for its user
        pass_fds=(theirs.fileno(),),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        start_new_session=True,
    )


def _widen(*sockets: socket.socket) -> None:
    """Room for a window's samples, so that they need few turns of both processes."""
    for one in sockets:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)


async def _read(reader: asyncio.StreamReader) -> Any:
    count = await reader.readexactly(COUNT_BYTES)
    sizes = lengths(await reader.readexactly(lengths_bytes(count)))
    return decode([await reader.readexactly(size) for size in sizes])


def _is_stopped(pid: int) -> bool:
    """By a signal; one that a debugger holds is not."""
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    return False


def _exit_words(code: int) -> str:
    """How a process ended."""
    if code >= 0:
        return f"its process ended with exit code {code}"
    with suppress(ValueError):
        return f"its process was killed by {signal.Signals(-code).name}"
    return f"its process was killed by signal {-code}"
