"""What it costs a window to be recognised in another process: `python -m tests.figures.hop`.

Sends windows of 30 s, one after another, to a backend that does nothing, in a thread and in a process, in turns.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from functools import partial
from statistics import median, quantiles
from typing import Final

import numpy as np

from lithophone.backends.base import Backend, RecognitionRequest
from lithophone.backends.fake import FakeBackend, PlainRuntime
from lithophone.granite.family import DEMONSTRATION_ID, FAMILY
from lithophone.hosts.base import Launch
from lithophone.hosts.description import WorkerDescription
from lithophone.hosts.process import in_process
from lithophone.hosts.supervised import SupervisedHost
from lithophone.hosts.thread import in_thread

SPEC: Final = FAMILY[DEMONSTRATION_ID]
ROUNDS: Final = 5


def open_deaf() -> Backend:
    """Hears nothing and takes no time."""
    return FakeBackend(lambda _: "")


def launches() -> dict[str, Launch]:
    description = WorkerDescription(
        opener="tests.figures.hop:open_deaf",
        runtime="lithophone.backends.fake:PlainRuntime",
        log_level="error",
    )
    return {"thread": in_thread(open_deaf, PlainRuntime()), "process": in_process(description)}


async def measure(seconds: float, count: int) -> dict[str, list[float]]:
    """Round trips in milliseconds, by where the worker was."""
    hosts = {name: SupervisedHost(SPEC.id, SPEC, launch) for name, launch in launches().items()}
    await asyncio.gather(*(host.loaded() for host in hosts.values()))
    took: dict[str, list[float]] = {name: [] for name in hosts}
    rng = np.random.default_rng(0)
    for _ in range(ROUNDS):
        for name, host in hosts.items():
            recognise = partial(host.open_recogniser().recognise)
            for _ in range(count // ROUNDS):
                samples = rng.normal(0, 0.1, round(seconds * 16_000)).astype(np.float32)
                began = time.perf_counter()
                await recognise(RecognitionRequest(samples=samples))
                took[name].append(1000 * (time.perf_counter() - began))
    await asyncio.gather(*(host.stop() for host in hosts.values()))
    return took


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="audio of a window")
    parser.add_argument("--count", type=int, default=500)
    options = parser.parse_args()
    took = asyncio.run(measure(options.seconds, options.count))
    for name, times in took.items():
        print(
            f"{name}: {median(times):.2f} ms, 95 % {quantiles(times, n=20)[-1]:.2f}, least {min(times):.2f}"
        )
    print(f"a hop of {options.seconds:g} s: {median(took['process']) - median(took['thread']):.2f} ms")


if __name__ == "__main__":
    main()
