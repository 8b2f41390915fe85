"""What a decoder's process may use, alone and together with the others, and whose fault its end was.

Owns the limits of one process, the watch over the memory of all, and the line between a file that cannot be decoded and a
machine that lacks something. Knows no format.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from lithophone.errors import ShortageError, UndecodableAudioError

WATCH_SECONDS: Final = 0.1
SHARES: Final = 8
"""A decoder that holds less than this part of the memory of all is not to blame when it runs out."""

FROM_OUTSIDE: Final = frozenset((-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP))
IDLE_SECONDS: Final = 0.3  # how long is looked whether a decoder does anything
IDLE_SHARE: Final = 0.1  # of a core; one that is at work has more even where others are, too
FIRST_CPU_SECONDS: Final = 5  # of a decoder that has given no sound yet, and for what it passes over later
BYTES_A_CPU_SECOND: Final = 50_000_000  # finding packets in a file goes ten times as fast
SOUND_A_CPU_SECOND: Final = 2.0  # decoding goes a hundred times as fast, the slowest codec ten times
GRACE_CPU_SECONDS: Final = (
    5  # between the signal that tells of the limit and the one that cannot be told apart
)


@dataclass(slots=True, eq=False)
class Watched:
    """A decoder's process under watch."""

    pid: int
    resident_bytes: int = 0
    over_memory: bool = False

    def measure(self) -> int:
        """What it has in memory now; 0 once it has ended."""
        try:
            pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        except (OSError, IndexError, ValueError):
            pages = 0
        self.resident_bytes = pages * resource.getpagesize()
        return self.resident_bytes


class DecoderMemory:
    """The memory of all decoders together: where it is more than allowed, the largest one ends.

    Args:
        max_bytes: Resident, of all; 0: any amount.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._processes: set[Watched] = set()
        self._watch: asyncio.Task[None] | None = None

    @property
    def running(self) -> int:
        """Decoders there are."""
        return len(self._processes)

    @contextmanager
    def watching(self, pid: int) -> Generator[Watched]:
        """Watch a process for as long as it runs."""
        watched = Watched(pid)
        self._processes.add(watched)
        if self._max_bytes and (self._watch is None or self._watch.done()):
            self._watch = asyncio.create_task(self._keep_within())
        try:
            yield watched
        finally:
            self._processes.discard(watched)

    async def _keep_within(self) -> None:
        while self._processes:
            await asyncio.sleep(WATCH_SECONDS)
            self._end_largest()

    def _end_largest(self) -> None:
        running = [process for process in self._processes if not process.over_memory]
        if sum(process.measure() for process in running) > self._max_bytes:
            largest = max(running, key=lambda process: process.resident_bytes)
            largest.over_memory = True
            kill_group(largest.pid)

    def failure_of(self, watched: Watched) -> UndecodableAudioError | ShortageError:
        """What a file whose decoder was ended for its memory is told."""
        if watched.resident_bytes * SHARES > self._max_bytes:
            return UndecodableAudioError("Decoding the file takes too much memory.", param="file")
        return ShortageError(
            "The server has not enough memory for decoders now; try again later.",
            lacking="memory of decoders",
        )


def kill_group(pid: int) -> None:
    """End a process that leads a group, and all of the group."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


async def start_fenced(*command: str, **options: Any) -> Process:
    """`asyncio.create_subprocess_exec`.

    Raises:
        ShortageError: the machine has no process, memory or descriptor left for it.
    """
    try:
        return await asyncio.create_subprocess_exec(*command, **options)
    except OSError as error:
        raise ShortageError(
            "The server cannot start a decoder now; try again later.",
            lacking=f"decoder process: {error.strerror or error}",
        ) from None


def allowed_cpu_seconds(file_bytes: int, decoded_seconds: float) -> int:
    """Processor time a decoder may have had that came so far into a file of that size: one that gives no sound gets no more."""
    spent = file_bytes / BYTES_A_CPU_SECOND + decoded_seconds / SOUND_A_CPU_SECOND
    return FIRST_CPU_SECONDS + int(spent)


def limit_resources(pid: int, *, memory_bytes: int, cpu_seconds: int, most_cpu_seconds: int) -> None:
    """No file written, bounded memory and CPU time. Set from outside: `preexec_fn` is unsafe beside threads.

    `cpu_seconds` is the limit for now, `most_cpu_seconds` what `allow_cpu` may raise it to.
    """
    if sys.platform != "linux":
        return
    with suppress(ProcessLookupError):
        for kind, soft, hard in (
            (resource.RLIMIT_AS, memory_bytes, memory_bytes),
            (resource.RLIMIT_CPU, min(cpu_seconds, most_cpu_seconds), most_cpu_seconds + GRACE_CPU_SECONDS),
            (resource.RLIMIT_FSIZE, 0, 0),
            (resource.RLIMIT_CORE, 0, 0),
        ):
            resource.prlimit(pid, kind, (soft, hard))


def allow_cpu(pid: int, cpu_seconds: int, most_cpu_seconds: int) -> None:
    """Raise the limit of a process that got on, to no more than `limit_resources` said."""
    if sys.platform != "linux":
        return
    limits = (min(cpu_seconds, most_cpu_seconds), most_cpu_seconds + GRACE_CPU_SECONDS)
    with suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_CPU, limits)


async def is_idle(pid: int) -> bool:
    """Whether a process does nothing: somebody stopped it, or the machine has no time for it, or its disk no answer."""
    before = _cpu_seconds(pid)
    await asyncio.sleep(IDLE_SECONDS)
    return _cpu_seconds(pid) - before < IDLE_SECONDS * IDLE_SHARE


def _cpu_seconds(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    return times.user + times.system


def end_from_outside(returncode: int | None) -> ShortageError | None:
    """The failure of a decoder that somebody ended, the system for want of memory perhaps; None where it ended by itself."""
    if returncode not in FROM_OUTSIDE:
        return None
    return ShortageError(
        "The decoder was ended from outside; try again.",
        lacking=f"decoder process: ended by {signal.Signals(-returncode).name}",
    )
