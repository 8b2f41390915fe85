"""What a cluster costs and gives: `python -m tests.figures.ray hop | scaling | kills | http | growth | news`. Needs Ray.

`hop` sends windows of 30 s, one after another, to replicas that do nothing. `scaling` has a model that only sleeps, so that
neither this machine's cores nor any GPU bound what is measured, and counts windows a second by the number of replicas. `kills`
ends one of two nodes again and again while clients ask without a pause, and compares every text with what was asked; `http` is
the same through the server's own door, whole answers and streams, short files and such as are heard in several windows.
`growth` measures what a window costs a server and a replica costs Serve's controller, and reckons with a thousand replicas.
`news` has two servers share the one place of a client: how long one's leaving takes to let the other's in.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import resource
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Final

import httpx
import numpy as np
import psutil
import uvicorn

from lithophone.backends.base import Backend, RecognitionRequest, VoiceDetector
from lithophone.backends.fake import FakeBackend
from lithophone.backends.silero import SileroDetector
from lithophone.engine.admission import Admission
from lithophone.engine.fairness import Client
from lithophone.engine.sharing import share_limits
from lithophone.granite.family import DEMONSTRATION_ID, FAMILY
from lithophone.hosts.base import ModelHost
from lithophone.hosts.description import WorkerDescription
from lithophone.hosts.models import Models
from lithophone.hosts.process import in_process
from lithophone.hosts.ray_serve.cluster import Cluster, RayBoard, ServeDeployment
from lithophone.hosts.ray_serve.deployment import Scale, Served
from lithophone.hosts.ray_serve.host import RayHost
from lithophone.hosts.supervised import SupervisedHost
from lithophone.http.app import create_app
from lithophone.logs import configure_logging
from tests.clusters import Nodes, two_nodes
from tests.figures.growth import Costs, table
from tests.figures.leavers import ROUTE, SPEECH, WAIT_SECONDS, Crowd, file_of, whole_text
from tests.recordings import run_ffmpeg, wav_bytes

SPEC: Final = FAMILY[DEMONSTRATION_ID]
WINDOW_SECONDS: Final = 30
SLEEP_SECONDS: Final = 1.0
MOST_REPLICAS: Final = 8
READY_SECONDS: Final = 120.0
CLIENTS: Final = 16
LONG_FILES: Final = 4
SHARE_SECONDS: Final = 30.0
LOOPS: Final = 60


def open_sleeper(delay_seconds: float, max_batch: int) -> Backend:
    """Says how many samples it heard, after a while."""
    return FakeBackend(
        lambda request: str(len(request.samples)), delay_seconds=delay_seconds, max_batch=max_batch
    )


class Staying(ServeDeployment):
    """Keeps the connection for the next measurement."""

    def leave(self) -> None:
        """The cluster ends with the script."""


@asynccontextmanager
async def hosted(
    cluster: Cluster, delay_seconds: float, max_batch: int, replicas: int
) -> AsyncGenerator[RayHost]:
    """So many replicas, all of them there."""
    description = WorkerDescription(
        opener="tests.figures.ray:open_sleeper",
        arguments=(delay_seconds, max_batch),
        runtime="lithophone.backends.fake:PlainRuntime",
        log_level="error",
    )
    served = Served(model_id=SPEC.id, spec=SPEC, description=description)
    deployment = Staying(cluster, served, Scale(min_replicas=replicas, max_replicas=replicas, cpus=0.5))
    host = RayHost(SPEC.id, SPEC, deployment)
    await host.loaded()
    async with asyncio.timeout(READY_SECONDS):
        while (await asyncio.to_thread(deployment.look)).replicas < replicas:  # noqa: ASYNC110 - Ray has no event for it
            await asyncio.sleep(0.2)
    try:
        yield host
    finally:
        await asyncio.to_thread(deployment.remove)
        await host.stop()


def window(samples: int = WINDOW_SECONDS * 16_000) -> RecognitionRequest:
    """Noise, so that nothing compresses it on its way."""
    noise = np.random.default_rng(samples).normal(0, 0.1, samples)
    return RecognitionRequest(samples=noise.astype(np.float32))


async def hop(cluster: Cluster, count: int) -> None:
    """Round trips of one window at a time, to a replica and to a process of this machine in turns."""
    description = WorkerDescription(
        opener="tests.figures.ray:open_sleeper",
        arguments=(0.0, 1),
        runtime="lithophone.backends.fake:PlainRuntime",
        log_level="error",
    )
    near = SupervisedHost(SPEC.id, SPEC, in_process(description))
    await near.loaded()
    async with hosted(cluster, 0.0, 1, 1) as far:
        for seconds in (WINDOW_SECONDS, 1):
            took = await round_trips({"a replica": far, "a process": near}, window(seconds * 16_000), count)
            for name, times in took.items():
                print(
                    f"{seconds} s to {name}: p50 {median(times):.1f} ms, 95 % {quantiles(times, n=20)[-1]:.1f}, "
                    f"least {min(times):.1f}"
                )
    await near.stop()


async def round_trips(
    hosts: dict[str, ModelHost], request: RecognitionRequest, count: int
) -> dict[str, list[float]]:
    """In milliseconds, by host, without the first tenth."""
    took: dict[str, list[float]] = {name: [] for name in hosts}
    for _ in range(count):
        for name, host in hosts.items():
            began = time.perf_counter()
            await host.open_recogniser().recognise(request)
            took[name].append(1000 * (time.perf_counter() - began))
    return {name: times[count // 10 :] for name, times in took.items()}


async def windows_a_second(host: RayHost, replicas: int, windows: int) -> float:
    """With four windows for each replica under way, of which it takes one at a time."""
    recognise = host.open_recogniser().recognise
    request = window()
    places = asyncio.Semaphore(4 * replicas)

    async def one() -> None:
        async with places:
            await recognise(request)

    await asyncio.gather(*(one() for _ in range(2 * replicas)))
    began = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(windows)))
    return windows / (time.perf_counter() - began)


async def scaling(cluster: Cluster, windows_each: int) -> None:
    """Windows a second, by replicas."""
    alone = 0.0
    replicas = 1
    while replicas <= MOST_REPLICAS:
        async with hosted(cluster, SLEEP_SECONDS, 1, replicas) as host:
            rate = await windows_a_second(host, replicas, windows_each * replicas)
        alone = alone or rate
        print(
            f"{replicas} replicas: {rate:.2f} windows/s, {rate / alone / replicas:.2f} of linear", flush=True
        )
        replicas *= 2


async def kills(cluster: Cluster, nodes: Nodes, seconds: float, every_seconds: float) -> bool:
    """Windows asked for while nodes die; whether all was well."""
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    over = asyncio.Event()
    async with hosted(cluster, 0.2, 4, 2) as host:

        async def client(number: int) -> None:
            nonlocal slowest
            samples = 16_000 + number
            request = window(samples)
            while not over.is_set():
                began = time.perf_counter()
                try:
                    heard = (await host.open_recogniser().recognise(request)).text
                except Exception as error:  # noqa: BLE001 - counted
                    outcomes[f"failed: {type(error).__name__}: {error}"] += 1
                else:
                    outcomes["right" if heard == str(samples) else "wrong"] += 1
                slowest = max(slowest, time.perf_counter() - began)

        clients = [asyncio.create_task(client(number)) for number in range(CLIENTS)]
        deaths = await kill_nodes(nodes, seconds, every_seconds)
        over.set()
        await asyncio.gather(*clients)
    print(
        f"{deaths} nodes killed in {seconds:g} s: {dict(outcomes)}; the slowest window took {slowest:.1f} s"
    )
    return set(outcomes) == {"right"}


async def kill_nodes(nodes: Nodes, seconds: float, every_seconds: float) -> int:
    """The older one of two, so often, and another one in its place; returns how many were."""
    deaths, began = 0, time.monotonic()
    while (due := (deaths + 1) * every_seconds) <= seconds:
        await asyncio.sleep(max(0.0, began + due - time.monotonic()))
        await asyncio.to_thread(nodes.kill, nodes.working[0])
        await asyncio.to_thread(nodes.add)
        deaths += 1
    return deaths


def write_noise(folder: Path) -> list[Path]:
    """Files of different lengths, since a text is how many samples were heard; the last ones take several windows."""
    paths: list[Path] = []
    for number in range(CLIENTS):
        seconds = 1.5 if number < CLIENTS - LONG_FILES else 2.5 * WINDOW_SECONDS
        samples = window(round(seconds * 16_000) + 160 * number).samples
        paths.append(folder / f"{number:02}.wav")
        paths[-1].write_bytes(wav_bytes(samples))
    return paths


@asynccontextmanager
async def over_http(host: ModelHost, voice: VoiceDetector | None = None) -> AsyncGenerator[str]:
    """The server's address, before this model."""
    app = create_app(Models([host]), Admission(4 * CLIENTS), voice=voice)
    config = uvicorn.Config(app, log_config=None, access_log=False)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving


async def http(cluster: Cluster, nodes: Nodes, seconds: float, every_seconds: float) -> bool:
    """Requests under way while nodes die; whether all was well."""
    limits = httpx.Limits(max_connections=None)
    over = asyncio.Event()
    with tempfile.TemporaryDirectory() as name:
        paths = write_noise(Path(name))
        async with (
            hosted(cluster, 0.2, 4, 2) as host,
            over_http(host) as url,
            httpx.AsyncClient(base_url=url, timeout=WAIT_SECONDS, limits=limits) as client,
        ):
            alone = {path: await whole_text(client, path) for path in paths}
            crowd = Crowd(client, alone, random.Random(1))  # noqa: S311 - to repeat a run
            asking = asyncio.create_task(crowd.run(CLIENTS, over.is_set, half_leave=False))
            deaths = await kill_nodes(nodes, seconds, every_seconds)
            over.set()
            await asking
    tally = crowd.tally
    print(
        f"{deaths} nodes killed in {seconds:g} s: {tally.stayed} requests ({tally.streamed} streams), "
        f"{sum(tally.failed.values())} failed, {len(tally.differing)} wrong; {len(set(alone.values()))} different texts"
    )
    for line in (*tally.failed.elements(), *tally.differing):
        print(f"  {line}")
    return tally.sound


async def growth(cluster: Cluster, pace: float) -> None:
    """Costs, and what they come to with up to a thousand replicas."""
    shares = {replicas: await controller_share(cluster, replicas) for replicas in (2, MOST_REPLICAS)}
    slope = max(1e-6, (shares[MOST_REPLICAS] - shares[2]) / (MOST_REPLICAS - 2))
    own, decoders, flight = await door_seconds(cluster)
    costs = Costs(
        pace=pace,
        server_seconds=own,
        decoder_seconds=decoders,
        controller_seconds=max(0.0, shares[2] - 2 * slope),
        controller_replica_seconds=slope,
        flight_seconds=flight,
    )
    print(costs)
    print("\n".join(table(costs)))


async def controller_share(cluster: Cluster, replicas: int) -> float:
    """Of one core, by Serve's controller, while replicas have nothing to do but report."""
    async with hosted(cluster, 0.0, 1, replicas):
        controller = next(one for one in psutil.process_iter(["cmdline"]) if _is_controller(one))
        before = sum(controller.cpu_times()[:2])
        await asyncio.sleep(SHARE_SECONDS)
        return (sum(controller.cpu_times()[:2]) - before) / SHARE_SECONDS


def _is_controller(process: psutil.Process) -> bool:
    return "ServeController" in " ".join(process.info["cmdline"] or ())


async def door_seconds(cluster: Cluster) -> tuple[float, float, float]:
    """Processor time for a second of audio, of a server's process and of its decoders; and a window's time under way.

    Voice activity is listened to, as in the real server; the replicas answer at once, so that flight is the hop alone.
    """
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "long.flac")
        run_ffmpeg("-stream_loop", str(LOOPS - 1), "-i", str(SPEECH / "demo.flac"), str(path))
        async with hosted(cluster, 0.0, 4, 2) as host, over_http(host, SileroDetector()) as url:
            async with httpx.AsyncClient(base_url=url, timeout=WAIT_SECONDS) as client:
                await whole_text(client, SPEECH / "demo.flac")
                before = _used()
                form = {"model": "whisper-1", "response_format": "verbose_json"}
                heard = await client.post(ROUTE, data=form, files=file_of(path))
                used = _used()
            took = await round_trips({"a replica": host}, window(), 20)
    seconds = heard.json()["duration"]
    own, decoders = ((after - earlier) / seconds for earlier, after in zip(before, used, strict=True))
    return own, decoders, median(took["a replica"]) / 1000


def _used() -> tuple[float, float]:
    """Processor time of this process, and of its children that have ended."""
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime, children.ru_utime + children.ru_stime


async def news(cluster: Cluster, count: int) -> None:
    """The place of a client goes from one server to the other and back."""
    client = Client("ann", max_requests=1)
    rooms = [Admission(10), Admission(10)]
    sharing = [asyncio.create_task(share_limits(room, RayBoard(cluster))) for room in rooms]
    inside = rooms[0].place(1.0, client)
    await asyncio.sleep(5.0)  # an actor starts
    took: list[float] = []
    for turn in range(1, count + 1):
        waiting = rooms[turn % 2].place(1.0, client)
        if waiting.is_inside:
            raise RuntimeError("two places of one were taken")
        await asyncio.sleep(0.1 + 0.618 * turn % 0.5)  # at any moment of the others' telling
        began = time.perf_counter()
        inside.leave()
        await waiting.admitted()
        took.append(1000 * (time.perf_counter() - began))
        inside = waiting
        await asyncio.sleep(0.2 + 0.366 * turn % 0.5)
    print(f"news: p50 {median(took):.1f} ms, 95 % {quantiles(took, n=20)[-1]:.1f}, most {max(took):.1f}")
    for task in sharing:
        task.cancel()
    await asyncio.gather(*sharing, return_exceptions=True)


async def measure(options: argparse.Namespace, nodes: Nodes) -> bool:
    """One of them; whether all was well."""
    configure_logging("error", "console")
    cluster = Cluster(nodes.address)
    try:
        if options.what in {"kills", "http"}:
            under = kills if options.what == "kills" else http
            return await under(cluster, nodes, options.seconds, options.every)
        match options.what:
            case "hop":
                await hop(cluster, options.count)
            case "scaling":
                await scaling(cluster, options.count)
            case "news":
                await news(cluster, options.count)
            case _:
                await growth(cluster, options.pace)
        return True
    finally:
        await asyncio.to_thread(cluster.leave)


def main() -> int:
    """Measure and print; exit code 1 where a window failed or was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("hop", "scaling", "kills", "http", "growth", "news"))
    parser.add_argument("--count", type=int, default=200, help="windows, for scaling of each replica")
    parser.add_argument("--pace", type=float, default=300.0, help="audio seconds a second of a replica")
    parser.add_argument("--seconds", type=float, default=120.0, help="how long nodes are killed")
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two of them")
    options = parser.parse_args()
    with two_nodes() as nodes:
        return 0 if asyncio.run(measure(options, nodes)) else 1


if __name__ == "__main__":
    sys.exit(main())
