"""`lithophone serve` in a process of its own, watched from outside: its memory, and what it says it does.

Owns the process, the samples of its memory and its log lines.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, Self

import msgspec
import psutil

START_SECONDS: Final = 300.0
SAMPLE_SECONDS: Final = 0.1
DRAIN_SECONDS: Final = 0.5
MIB: Final = 2**20


class MemoryPeak:
    """The most resident memory a process and its children had while the context was open, in bytes."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.peak_bytes = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.peak_bytes = max(self.peak_bytes, resident_bytes(self._process))
            if self._over.wait(SAMPLE_SECONDS):
                return


def resident_bytes(process: psutil.Process) -> int:
    """Of a process and all its children; a child that was just forked still is its parent, whose pages count once."""
    with suppress(psutil.NoSuchProcess):
        own = process.cmdline()
        return process.memory_info().rss + sum(
            _resident_bytes(child, own) for child in process.children(recursive=True)
        )
    return 0


def _resident_bytes(child: psutil.Process, parents_command: list[str]) -> int:
    with suppress(psutil.NoSuchProcess):
        if child.cmdline() != parents_command:
            return child.memory_info().rss
    return 0


class LoggedWindow(msgspec.Struct, frozen=True):
    """A line of the log about a window; what else it says is left out."""

    start_seconds: float
    stop_seconds: float
    shared_before_seconds: float


class _LogLine(msgspec.Struct, frozen=True):
    event: str


class ServerProcess:
    """A running server.

    Attributes:
        url: Where it listens.
        pid: Of the process.
        idle_bytes: Resident memory when it was ready and nobody had asked anything.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._windows: list[LoggedWindow] = []
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        self.pid = process.pid
        self.url = self._announced_url()
        self.idle_bytes = self.resident_bytes()

    def resident_bytes(self) -> int:
        """Now, with children."""
        return resident_bytes(psutil.Process(self.pid))

    def watch_memory(self) -> MemoryPeak:
        """A context that knows the peak of its time."""
        return MemoryPeak(self.pid)

    def take_windows(self) -> list[LoggedWindow]:
        """What the log said of windows since the last call."""
        time.sleep(DRAIN_SECONDS)  # the last lines may still be on their way
        taken, self._windows = self._windows, []
        return taken

    def _read_log(self) -> None:
        for line in self._process.stderr or ():
            with suppress(msgspec.DecodeError):
                if msgspec.json.decode(line, type=_LogLine).event == "window":
                    self._windows.append(msgspec.json.decode(line, type=LoggedWindow))
                    continue
            self._lines = [*self._lines[-50:], line]

    def _announced_url(self) -> str:
        timer = threading.Timer(START_SECONDS, self._process.kill)
        timer.start()
        try:
            for line in self._process.stdout or ():
                if found := re.search(r"http://\S+", line):
                    return found.group()
        finally:
            timer.cancel()
        self._process.wait()
        self._reader.join()
        raise RuntimeError("".join(self._lines))


@contextmanager
def running_server(*flags: str) -> Iterator[ServerProcess]:
    """A server on a free port, which logs each window."""
    command = [sys.executable, "-m", "lithophone", "serve", "--port", "0"]
    with subprocess.Popen(
        [*command, "--log-level", "debug", "--log-format", "json", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
    ) as process:
        try:
            yield ServerProcess(process)
        finally:
            process.terminate()
            process.wait()
            time.sleep(DRAIN_SECONDS)  # what reads its log comes to the end of it
