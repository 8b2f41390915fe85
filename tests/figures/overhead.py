"""What metrics and traces cost: `python -m tests.figures.overhead`.

The real server in turns without and with them, over a backend that does nothing and over the embedded model: once with nothing
counted, nobody scraping and no collector, once as it is, scraped every second, with every request and window traced to a
collector on this machine. Told is the processor time of the server for a request, which a busy machine does not falsify much,
and how many were answered a second.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from statistics import median
from typing import NamedTuple

import httpx
import psutil

import lithophone.app
from lithophone.backends.base import RecognitionRequest
from lithophone.backends.fake import PlainRuntime
from lithophone.cli import main as command
from lithophone.granite.family import DEMONSTRATION_ID, FAMILY
from lithophone.hosts.models import Models
from lithophone.hosts.supervised import SupervisedHost
from lithophone.hosts.tally import Tally
from lithophone.hosts.thread import in_thread
from lithophone.http.exchange import Exchange
from lithophone.http.metrics import Metrics
from lithophone.settings import Settings
from lithophone.worker.messages import Recognised
from tests.collector import collecting
from tests.figures.load import cpu_seconds, drive, example_uploads
from tests.figures.load_server import IdleBackend

SERVE = "serve"


class Turn(NamedTuple):
    """What a server did in its turn."""

    cpu_seconds_a_request: float
    requests_a_second: float


def main() -> None:
    """Measure and print; with `serve` as the first word, be the server."""
    if sys.argv[1:2] == [SERVE]:
        serve(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each turn")
    parser.add_argument("--pairs", type=int, default=5)
    options = parser.parse_args()
    for backend in ("idle", "model"):
        cpu: list[float] = []
        pace: list[float] = []
        for _ in range(options.pairs):
            without, with_all = (
                measured(backend, observed, options.clients, options.seconds) for observed in (False, True)
            )
            cpu.append(with_all.cpu_seconds_a_request / without.cpu_seconds_a_request - 1)
            pace.append(with_all.requests_a_second / without.requests_a_second - 1)
            print(f"{backend}: without {without}, with {with_all}")
        print(
            f"{backend}: processor time {median(cpu):+.1%} ({min(cpu):+.1%} to {max(cpu):+.1%}), "
            f"requests a second {median(pace):+.1%} ({min(pace):+.1%} to {max(pace):+.1%})"
        )


def measured(backend: str, observed: bool, clients: int, seconds: float) -> Turn:
    """One turn of a server of its own, after a short one that warms it."""
    uploads = example_uploads(as_wav=True)
    with ExitStack() as stack:
        environment: dict[str, str] = {}
        if observed:
            environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = stack.enter_context(collecting(reads=False)).url
        url, process = stack.enter_context(served(backend, observed, environment))
        drive(url, uploads, clients, min(3.0, seconds))
        if observed:
            stack.enter_context(scraped(url))
        before = whole_cpu_seconds(process)
        exchanges, took = drive(url, uploads, clients, seconds)
        spent = whole_cpu_seconds(process) - before
    return Turn(round(spent / len(exchanges), 5), round(len(exchanges) / took, 2))


def whole_cpu_seconds(process: psutil.Process) -> float:
    """Of the server and of its model's process."""
    return cpu_seconds(process) + sum(cpu_seconds(child) for child in process.children(recursive=True))


@contextmanager
def served(backend: str, observed: bool, environment: dict[str, str]) -> Iterator[tuple[str, psutil.Process]]:
    """`lithophone serve` with the backend."""
    words = [sys.executable, "-m", "tests.figures.overhead", SERVE, backend, "all" if observed else "bare"]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ, **environment}
    ) as process:
        try:
            line = next((line for line in process.stdout or () if "http" in line), "")
            yield line.split("ready: ")[1].split()[0], psutil.Process(process.pid)
        finally:
            process.terminate()


@contextmanager
def scraped(url: str) -> Iterator[None]:
    """`/metrics` is read once a second."""
    over = threading.Event()

    def scrape() -> None:
        with httpx.Client(base_url=url) as client:
            while not over.wait(1.0):
                client.get("/metrics").raise_for_status()

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def serve(words: list[str]) -> None:
    """Be a server: over a backend of that name, and bare or with all that is counted."""
    backend, what = words
    if backend == "idle":
        lithophone.app.build_models = idle_models
    if what == "bare":
        Metrics.count = _count_nothing
        Tally.add = _add_nothing
    with suppress(SystemExit):
        command(["serve", "--port", "0", "--cpu-threads", "1", "--max-requests", "64"])


def _count_nothing(self: Metrics, exchange: Exchange) -> None:
    del self, exchange


def _add_nothing(self: Tally, request: RecognitionRequest, recognised: Recognised) -> None:
    del self, request, recognised


def idle_models(_: Settings) -> Models:
    """One model that hears nothing and says the same."""
    spec = FAMILY[DEMONSTRATION_ID]
    return Models([SupervisedHost(spec.id, spec, in_thread(IdleBackend, PlainRuntime()))])


if __name__ == "__main__":
    main()
