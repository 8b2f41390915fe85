"""A worker killed again and again under load: `python -m tests.figures.deaths --kills 20 --signal KILL`.

Clients ask without a pause, whole answers and streams mixed, and every text is compared with what the same clip gives
alone; meanwhile the worker's process is killed, or stopped so that it answers no more, each time after `--answers` more
answers. Told is how many requests failed or differ, how long the server was not ready, and what was left behind.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Final

import httpx
import msgspec
import psutil

from tests.figures.leavers import WAIT_SECONDS, Crowd, Tally, clips, whole_text
from tests.figures.server import running_server

CHILD_MODULE: Final = "lithophone.child"
POLL_SECONDS: Final = 0.02
READY_SECONDS: Final = 60.0
SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - looked at, not written to


class Inventory(msgspec.Struct, frozen=True):
    """What a server holds."""

    workers: int
    descriptors: int
    shared: tuple[str, ...]


def workers_of(server: psutil.Process) -> list[psutil.Process]:
    """The processes of its models, but for one that has just died."""
    return [child for child in server.children(recursive=True) if CHILD_MODULE in _command(child)]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except (psutil.ZombieProcess, psutil.NoSuchProcess):
        return []


def inventory(server: psutil.Process) -> Inventory:
    """Now."""
    shared = tuple(sorted(file.name for file in SHARED_MEMORY.iterdir()))
    return Inventory(len(workers_of(server)), server.num_fds(), shared)


async def until_ready(client: httpx.AsyncClient) -> None:
    """Wait for `/ready`."""
    async with asyncio.timeout(READY_SECONDS):
        while (await client.get("/ready")).status_code != httpx.codes.OK:
            await asyncio.sleep(POLL_SECONDS)


async def kill_once(client: httpx.AsyncClient, server: psutil.Process, sign: signal.Signals) -> float:
    """Kill the worker; returns the seconds until another one is ready."""
    (worker,) = workers_of(server)
    began = time.monotonic()
    worker.send_signal(sign)
    while (await client.get("/ready")).status_code == httpx.codes.OK:
        await asyncio.sleep(POLL_SECONDS)
    await until_ready(client)
    return time.monotonic() - began


async def kill_often(
    client: httpx.AsyncClient, server: psutil.Process, tally: Tally, options: argparse.Namespace
) -> Sequence[float]:
    """Kill as often as asked, each time after so many more answers."""
    sign = signal.Signals[f"SIG{options.signal}"]
    took: list[float] = []
    for _ in range(options.kills):
        enough = tally.stayed + options.answers + options.clients
        while tally.stayed < enough:
            await asyncio.sleep(POLL_SECONDS)
        await asyncio.sleep(random.uniform(0, 0.5))  # noqa: S311 - to meet it anywhere
        took.append(await kill_once(client, server, sign))
        print(f"  {sign.name}: ready again after {took[-1]:.2f} s", flush=True)
    return took


async def run(url: str, pid: int, options: argparse.Namespace) -> bool:
    """The whole run; whether all was well."""
    server = psutil.Process(pid)
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=WAIT_SECONDS, limits=limits) as client:
        alone = {path: await whole_text(client, path) for path in clips(24)}
        before = inventory(server)
        crowd = Crowd(client, alone, random.Random(options.seed))  # noqa: S311 - to repeat a run
        killing = asyncio.create_task(kill_often(client, server, crowd.tally, options))
        await crowd.run(options.clients, killing.done, half_leave=False)
        took = await killing
    await asyncio.sleep(1.0)
    after = inventory(server)
    tally = crowd.tally
    print(
        f"{options.kills} times SIG{options.signal} under {options.clients} clients: {tally.stayed} requests "
        f"({tally.streamed} streams), {sum(tally.failed.values())} errors, {len(tally.differing)} differing texts; ready "
        f"again after {median(took):.2f} s, at most {max(took):.2f} s"
    )
    print(f"before {before}\nafter  {after}")
    for line in (*tally.failed.elements(), *tally.differing):
        print(f"  {line}")
    return tally.sound and after.workers == before.workers and after.shared == before.shared


def main() -> int:
    """Run and print; exit code 1 where a client saw anything, or something was left."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--signal", choices=("KILL", "STOP", "SEGV"), default="KILL")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--answers", type=int, default=16, help="answers between two kills")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with running_server("--dtype", "float32") as server:
        process = psutil.Process(server.pid)
        well = asyncio.run(run(server.url, server.pid, options))
        workers = workers_of(process)
    left = [worker.pid for worker in workers if worker.is_running()]
    print(f"left after the server's end: {left or 'nothing'}")
    return 0 if well and not left else 1


if __name__ == "__main__":
    sys.exit(main())
