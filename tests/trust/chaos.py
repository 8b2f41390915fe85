"""A server from which things are taken while clients ask it, one after the other, and then given back.

Owns the faults, what each may be answered by, and what must hold after all of them: ready again in 10 seconds, and no
process, descriptor or file left that was not there before. A fault that this machine does not let anybody make is said to
be not tried.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx
import psutil
from websockets.sync.client import connect as connect_socket

from tests.conftest import start_server
from tests.figures.deaths import SHARED_MEMORY, workers_of
from tests.relay import Relay
from tests.trust.scarcity import DEMO, connect, slow_head

READY_SECONDS: Final = 10.0
IDLE_SECONDS: Final = 5.0
CLIENTS: Final = 6
LASTS_SECONDS: Final = 4.0
TEMPORARY_BYTES: Final = 16 << 20
MOUNT, UMOUNT = shutil.which("mount") or "", shutil.which("umount") or ""
PIDS: Final = Path("/sys/fs/cgroup/pids")
MOVED: Final = """
import time
real, clock = time.time, open({path!r})

def moved():
    clock.seek(0)
    return real() + float(clock.read() or 0)

time.time = moved
time.time_ns = lambda: int(moved() * 1e9)
"""
RIGHT, SHORTAGE = "200 as it should be", "503 server_shortage"

Fault = Callable[["Patient"], None]


@dataclass(frozen=True)
class Held:
    """What a server holds."""

    workers: int
    others: int
    descriptors: int
    files: frozenset[str]
    shared: frozenset[str]


@dataclass
class Patient:
    """A running server, and where it keeps its temporary files."""

    url: str
    process: psutil.Process
    folder: Path
    clock: Path
    says: str = ""
    answers: Counter[str] = field(default_factory=Counter[str])

    def ask(self, url: str = "", seconds: float = 60.0) -> str:
        """What an ordinary request is answered: its status and why."""
        try:
            answer = httpx.post(
                f"{url or self.url}/v1/audio/transcriptions",
                files={"file": ("demo.flac", DEMO.read_bytes())},
                data={"model": "whisper-1", "response_format": "text"},
                timeout=seconds,
            )
        except httpx.HTTPError as error:
            return type(error).__name__
        if answer.is_success:
            self.says = self.says or answer.text
            return f"{answer.status_code} {'as it should be' if answer.text == self.says else 'differs'}"
        retry = "" if "retry-after" in answer.headers else " without Retry-After"
        return f"{answer.status_code} {answer.json()['error']['code']}{retry if answer.status_code == 503 else ''}"

    def asked_meanwhile(self, stop: threading.Event) -> None:
        """Ask until told to stop."""
        while not stop.is_set():
            self.answers[self.ask()] += 1

    def is_ready(self) -> bool:
        """What `/ready` says."""
        with suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}/ready", timeout=5).status_code == httpx.codes.OK
        return False

    def held(self) -> Held:
        """What it holds now."""
        workers = workers_of(self.process)
        others = len(self.process.children(recursive=True)) - len(workers)
        return Held(len(workers), others, self.process.num_fds(), _names(self.folder), _names(SHARED_MEMORY))


def _names(folder: Path) -> frozenset[str]:
    return frozenset(str(path.relative_to(folder)) for path in folder.rglob("*"))


def eventually(condition: Callable[[], bool], seconds: float) -> float | None:
    """After how many seconds it came true; None if it did not in time."""
    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        if condition():
            return time.monotonic() - begun
        time.sleep(0.05)
    return None


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A small disk of its own where that can be had, else a folder."""
    with tempfile.TemporaryDirectory() as name:
        size = f"size={TEMPORARY_BYTES}"
        mounting = [MOUNT, "-t", "tmpfs", "-o", size, "none", name]
        mounted = bool(MOUNT) and not subprocess.run(mounting, capture_output=True, check=False).returncode
        try:
            yield Path(name)
        finally:
            if mounted:
                subprocess.run([UMOUNT, "--lazy", name], check=False)


@contextmanager
def patient() -> Iterator[Patient]:
    """The command a user would type, with a clock that can be moved."""
    with temporary_folder() as folder, tempfile.TemporaryDirectory() as time_folder:
        environment = {"TMPDIR": str(folder), **movable_clock(Path(time_folder))}
        flags = ("--log-level", "error", "--decode-stall-seconds", "3", "--max-audio-seconds", "600")
        process, url = start_server(*flags, environment=environment)
        with process:
            try:
                yield Patient(url, psutil.Process(process.pid), folder, Path(time_folder) / "clock")
            finally:
                process.terminate()
                process.wait(timeout=60)


def movable_clock(folder: Path) -> dict[str, str]:
    """What lets a Python process see another time of day: so many seconds more than it is, as a file says."""
    (folder / "clock").write_text("0")
    (folder / "sitecustomize.py").write_text(MOVED.format(path=str(folder / "clock")))
    return {"PYTHONPATH": os.pathsep.join((str(folder), os.environ.get("PYTHONPATH", "")))}


class NotTried(Exception):  # noqa: N818 - no error
    """This machine does not let anybody make the fault."""


def kill_workers(server: Patient, number: signal.Signals = signal.SIGKILL) -> None:
    """The model's process ends, or stands still: what was at work is done again."""
    for worker in workers_of(server.process):
        worker.send_signal(number)
    eventually(lambda: not server.is_ready(), 20)


def stop_workers(server: Patient) -> None:
    """As by a debugger, or a driver that hangs."""
    kill_workers(server, signal.SIGSTOP)


def kill_decoders(server: Patient) -> None:
    """As the system does for want of memory."""
    _signal_decoders(server, signal.SIGKILL)


def stop_decoders(server: Patient) -> None:
    """As where the machine has no time for them."""
    _signal_decoders(server, signal.SIGSTOP)


def _signal_decoders(server: Patient, number: signal.Signals) -> None:
    end = time.monotonic() + LASTS_SECONDS
    while time.monotonic() < end:
        for child in server.process.children():
            with suppress(psutil.Error):
                if "ffmpeg" in child.name():
                    child.send_signal(number)
        time.sleep(0.002)


def fill_disk(server: Patient) -> None:
    """Not a byte more goes into the temporary folder."""
    if shutil.disk_usage(server.folder).total > TEMPORARY_BYTES:
        raise NotTried("no small disk can be had")
    filler = server.folder / "filler"
    with suppress(OSError), filler.open("wb") as file:
        while True:
            file.write(bytes(1 << 16))
            file.flush()
    time.sleep(LASTS_SECONDS)
    filler.unlink()


def take_descriptors(server: Patient) -> None:
    """The process may open two files more."""
    before = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (server.process.num_fds() + 2, before[1]))
    time.sleep(LASTS_SECONDS)
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, before)


def take_processes(server: Patient) -> None:
    """No process and no thread more."""
    group = PIDS / "lithophone-chaos"
    try:
        group.mkdir()
    except OSError:
        raise NotTried("no group of processes can be made") from None
    try:
        for one in (server.process, *server.process.children(recursive=True)):
            (group / "cgroup.procs").write_text(str(one.pid))
        (group / "pids.max").write_text((group / "pids.current").read_text())
        time.sleep(LASTS_SECONDS)
        (group / "pids.max").write_text("max")
    finally:
        for pid in (group / "cgroup.procs").read_text().split():
            with suppress(OSError):
                (PIDS / "cgroup.procs").write_text(pid)
        eventually(lambda: not (group / "cgroup.procs").read_text(), IDLE_SECONDS)
        group.rmdir()


def move_clock(server: Patient) -> None:
    """A day ahead, two days back: nothing that is waited for is waited for by that clock."""
    for days in (1, -1, 400, 0):
        server.clock.write_text(str(days * 86_400))
        time.sleep(LASTS_SECONDS / 4)


def cut_network(server: Patient) -> None:
    """In the middle of uploads, answers and live sessions."""
    address = urlsplit(server.url)
    chance = random.Random(1)  # noqa: S311 - no secret
    with _relayed((address.hostname or "", address.port or 0)) as relay:
        for _ in range(4):
            threads = [threading.Thread(target=server.ask, args=(relay.url, 20.0)) for _ in range(CLIENTS)]
            for thread in threads:
                thread.start()
            with ExitStack() as opened:
                for _ in range(CLIENTS):
                    opened.enter_context(connect(relay.url, slow_head(relay.url)))
                live = connect_socket(f"{relay.url.replace('http', 'ws')}/v1/realtime?model=whisper-1")
                opened.callback(live.close)
                time.sleep(chance.random())
                relay.cut()
            for thread in threads:
                thread.join()
            relay.mend()


@contextmanager
def _relayed(target: tuple[str, int]) -> Iterator[Relay]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        relay = Relay(listener, target)
        try:
            yield relay
        finally:
            relay.close()


FAULTS: Final[Sequence[tuple[Fault, frozenset[str]]]] = (
    (kill_workers, frozenset({RIGHT})),
    (stop_workers, frozenset({RIGHT})),
    (kill_decoders, frozenset({RIGHT, SHORTAGE})),
    (stop_decoders, frozenset({RIGHT, SHORTAGE})),
    (fill_disk, frozenset({RIGHT, SHORTAGE})),
    (take_descriptors, frozenset({RIGHT, SHORTAGE, "429 overloaded"})),
    (take_processes, frozenset({RIGHT, SHORTAGE})),
    (move_clock, frozenset({RIGHT})),
    (cut_network, frozenset({RIGHT})),
)
"""What is done to the server, and what clients meanwhile may be answered."""


def suffer(server: Patient, fault: Fault, expected: frozenset[str]) -> list[str]:
    """One fault, and what was wrong about it."""
    before, stop = server.held(), threading.Event()
    server.answers = Counter()
    clients = [threading.Thread(target=server.asked_meanwhile, args=(stop,)) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        time.sleep(1)
        fault(server)
        ready_after = eventually(server.is_ready, READY_SECONDS)
    except NotTried as reason:
        print(f"chaos: {fault.__name__}: not tried, {reason}", flush=True)
        return []
    finally:
        stop.set()
        for client in clients:
            client.join()
    idle_after = eventually(lambda: not _left(before, server.held()), IDLE_SECONDS)
    wrong = [f"{answer}: {count}" for answer, count in server.answers.items() if answer not in expected]
    if ready_after is None:
        wrong.append(f"not ready {READY_SECONDS:g} s later")
    if idle_after is None:
        wrong.append(f"left behind: {_left(before, server.held())}")
    again = server.ask()
    if again != RIGHT:
        wrong.append(f"afterwards {again}")
    ready = "never" if ready_after is None else f"{ready_after:.1f} s"
    idle = "never" if idle_after is None else f"{idle_after:.1f} s"
    print(
        f"chaos: {fault.__name__}: {dict(server.answers)}; ready after {ready}, idle after {idle}; "
        f"{'WRONG ' + '; '.join(wrong) if wrong else 'as expected'}",
        flush=True,
    )
    return wrong


def _left(before: Held, now: Held) -> str:
    """What there is more of."""
    more = [
        name
        for name, was, is_now in (
            ("workers", before.workers, now.workers),
            ("other processes", before.others, now.others),
            ("descriptors", before.descriptors, now.descriptors),
        )
        if is_now > was
    ]
    return ", ".join([*more, *sorted((now.files - before.files) | (now.shared - before.shared))])


def chaos() -> None:
    """All of them, one after the other, to one server.

    Raises:
        SystemExit: something was not as expected.
    """
    with patient() as server:
        for _ in range(3):
            server.ask()
        wrong = [line for fault, expected in FAULTS for line in suffer(server, fault, expected)]
    if wrong:
        raise SystemExit(f"chaos: {len(wrong)} not as expected")
