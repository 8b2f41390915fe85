"""What metrics and traces cost: `python -m tests.figures.overhead`.

Two real servers, over a backend that does nothing and over the embedded model, take short turns: one with nothing counted,
nobody scraping and no collector, one as it is, scraped every second, with every request and window traced to a collector on
this machine. Told is the processor time of the server for a request and how many were answered a second, pair by pair.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
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
from tests.figures.load import Upload, cpu_seconds, drive, example_uploads
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
    parser.add_argument("--seconds", type=float, default=4.0, help="of each turn")
    parser.add_argument("--pairs", type=int, default=30)
    options = parser.parse_args()
    for backend in ("idle", "model"):
        pairs = list(paired_turns(backend, options.clients, options.seconds, options.pairs))
        print(
            f"{backend}: without {middle(bare for bare, _ in pairs)}, with {middle(all_ for _, all_ in pairs)}"
        )
        for name in Turn._fields:
            changes = [getattr(all_, name) / getattr(bare, name) - 1 for bare, all_ in pairs]
            print(f"{backend}: {name} {told(changes)}")


def paired_turns(backend: str, clients: int, seconds: float, pairs: int) -> Iterator[tuple[Turn, Turn]]:
    """Turns without and with everything, the one just behind the other, so that a busy minute meets both."""
    uploads = example_uploads(as_wav=True)
    with ExitStack() as stack:
        traces_to = {"OTEL_EXPORTER_OTLP_ENDPOINT": stack.enter_context(collecting(reads=False)).url}
        bare = stack.enter_context(served(backend, "bare", {}))
        observed = stack.enter_context(served(backend, "all", traces_to))
        for url, _ in (bare, observed):
            drive(url, uploads, clients, seconds)
        stack.enter_context(scraped(observed[0]))
        for number in range(pairs):
            order = (bare, observed) if number % 2 else (observed, bare)
            turns = {url: turn(url, process, uploads, clients, seconds) for url, process in order}
            yield turns[bare[0]], turns[observed[0]]


def turn(url: str, process: psutil.Process, uploads: Sequence[Upload], clients: int, seconds: float) -> Turn:
    """What one server does meanwhile; the other one is idle."""
    before = whole_cpu_seconds(process)
    exchanges, took = drive(url, uploads, clients, seconds)
    return Turn((whole_cpu_seconds(process) - before) / len(exchanges), len(exchanges) / took)


def middle(turns: Iterable[Turn]) -> Turn:
    """The median of each figure."""
    cpu, pace = zip(*turns, strict=True)
    return Turn(round(median(cpu), 5), round(median(pace), 2))


def told(changes: Sequence[float]) -> str:
    """The median of the pairs, where it lies with 95 % (by order statistics), and the span of all."""
    ordered = sorted(changes)
    aside = max(0, round(len(ordered) / 2 - 0.98 * len(ordered) ** 0.5) - 1)
    low, high = ordered[aside], ordered[-1 - aside]
    return f"{median(ordered):+.1%} (95 %: {low:+.1%} to {high:+.1%}; all: {ordered[0]:+.1%} to {ordered[-1]:+.1%})"


def whole_cpu_seconds(process: psutil.Process) -> float:
    """Of the server and of its model's process."""
    return cpu_seconds(process) + sum(cpu_seconds(child) for child in process.children(recursive=True))


@contextmanager
def served(backend: str, what: str, environment: dict[str, str]) -> Iterator[tuple[str, psutil.Process]]:
    """`lithophone serve` with the backend."""
    words = [sys.executable, "-m", "tests.figures.overhead", SERVE, backend, what]
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
