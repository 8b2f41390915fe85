"""Scarce things under attack: slow senders, idle connections, few descriptors, more load than the machine can carry.

Each function prints one figure; the page docs/reliability.md has them.
"""

from __future__ import annotations

import resource
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import openai
import psutil

from tests.conftest import start_server
from tests.http.conftest import SHORT, serving
from tests.http.test_upload import FILE_HEAD, MODEL_PART, MULTIPART

DEMO = Path(__file__).resolve().parents[2] / "examples" / "speech" / "demo.flac"


@contextmanager
def started(*flags: str) -> Iterator[tuple[str, psutil.Process]]:
    """The command a user would type."""
    process, url = start_server(*flags, "--log-level", "warning")
    with process:
        try:
            yield url, psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(timeout=60)


@contextmanager
def descriptors(soft: int) -> Iterator[None]:
    """What is started within begins with a soft limit of so many descriptors."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def ask(url: str, seconds: float = 60.0) -> int | str:
    """The status of one ordinary request."""
    try:
        return httpx.post(
            f"{url}/v1/audio/transcriptions",
            files={"file": ("demo.flac", DEMO.read_bytes())},
            data={"model": "whisper-1"},
            timeout=seconds,
        ).status_code
    except httpx.HTTPError as error:
        return type(error).__name__


def connect(url: str, first: bytes = b"") -> socket.socket:
    """A connection that sends so much and no more."""
    address = urlsplit(url)
    connection = socket.create_connection((address.hostname, address.port), timeout=30)
    connection.sendall(first)
    return connection


def slow_head(url: str) -> bytes:
    """The beginning of an upload."""
    return (
        (
            f"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\n"
            f"Content-Type: {MULTIPART}\r\nContent-Length: 500000\r\n\r\n"
        ).encode()
        + MODEL_PART
        + FILE_HEAD
    )


def trickle(seconds: float) -> None:
    """32 connections at a byte each 20 seconds."""
    with started() as (url, process), ExitStack() as opened:
        slow = [opened.enter_context(connect(url, slow_head(url))) for _ in range(32)]
        statuses, end, last = Counter[int | str](), time.monotonic() + seconds, time.monotonic()
        while time.monotonic() < end:
            if time.monotonic() - last > 20:
                last = time.monotonic()
                for connection in slow:
                    try_send(connection)
            statuses[ask(url)] += 1
            time.sleep(1)
        print(
            f"trickle: {seconds:g} s, the healthy client got {dict(statuses)}; descriptors now {process.num_fds()}"
        )


def try_send(connection: socket.socket) -> None:
    """One byte, if anybody is there."""
    try:
        connection.sendall(b"x")
    except OSError:
        connection.close()


def idle(count: int = 1100) -> None:
    """More idle connections than a soft limit of 1,024 descriptors holds."""
    with descriptors(1024), started() as (url, process):
        pass_limit = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        with ExitStack() as opened, more_descriptors():
            for _ in range(count):
                opened.enter_context(connect(url))
            time.sleep(1)
            used = process.cpu_percent(5)
            before = time.monotonic()
            status = ask(url)
            print(
                f"idle: {count} connections, limit {pass_limit}: {used:.0f} % of a core, an ordinary request {status} "
                f"in {time.monotonic() - before:.2f} s, descriptors {process.num_fds()}"
            )
            time.sleep(22)
            print(f"idle: after 22 s more, descriptors {process.num_fds()}")


@contextmanager
def more_descriptors() -> Iterator[None]:
    """For this process itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def few(clients: int = 60, rounds: int = 3) -> None:
    """60 clients of a server that may open 64 files."""
    command = 'ulimit -n 64; exec "$0" -m lithophone serve --port 0 --cpu-threads 1 --log-level warning'
    with subprocess.Popen(
        ["/bin/sh", "-c", command, sys.executable], stdout=subprocess.PIPE, text=True
    ) as process:
        line = next(line for line in process.stdout or () if "http://" in line)
        url = next(word for word in line.split() if word.startswith("http://"))
        with ThreadPoolExecutor(clients) as pool:
            statuses = Counter(pool.map(lambda _: ask(url, 120), range(clients * rounds)))
        print(f"few: {clients} clients, 64 descriptors: {dict(statuses)}")
        process.terminate()


def overload(times: float, seconds: float = 20.0) -> None:
    """OpenAI's SDK with its own retries, at so many times what the server can carry: arrivals at a steady pace."""
    with serving(delay_seconds=0.2, max_requests=4) as live:
        carried = capacity(live.transcribe)
        told, outcomes, lock = Counter[str](), Counter[str](), threading.Lock()

        def note(response: Any) -> None:
            with lock:
                told[str(response.status_code)] += 1

        transport = openai.DefaultHttpxClient(event_hooks={"response": [note]}, timeout=120)
        client = openai.OpenAI(base_url=f"{live.url}/v1", api_key="none", http_client=transport)

        def one() -> None:
            try:
                client.audio.transcriptions.create(model="whisper-1", file=("a.wav", SHORT))
            except openai.APIError as error:
                outcome = type(error).__name__
            else:
                outcome = "ok"
            with lock:
                outcomes[outcome] += 1

        threads = [threading.Thread(target=one) for _ in range(round(carried * times * seconds))]
        for thread in threads:
            thread.start()
            time.sleep(seconds / len(threads))
        for thread in threads:
            thread.join()
        lost = sum(outcomes.values()) - outcomes["ok"]
        print(
            f"overload: {times:g} times {carried:.1f} requests a second for {seconds:g} s: {dict(outcomes)}, "
            f"{100 * lost / len(threads):.2f} % lost; answers {dict(told)}"
        )


def capacity(transcribe: Callable[[], httpx.Response], seconds: float = 5.0) -> float:
    """Requests a second when eight clients ask as fast as they can."""
    end, done = time.monotonic() + seconds, Counter[int]()

    def ask_on() -> None:
        while time.monotonic() < end:
            done[transcribe().status_code] += 1

    threads = [threading.Thread(target=ask_on) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return done[200] / seconds
