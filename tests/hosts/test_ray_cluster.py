"""Models on a Ray cluster of several nodes, whose replicas and nodes die: what a request sees of it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from lithophone.backends.base import LiveWindow, RecognitionRequest
from lithophone.errors import ConfigurationError, InternalError, ModelFailedError, RequestCancelledError
from lithophone.granite.family import DEMONSTRATION_ID, FAMILY
from lithophone.hosts.base import HostState
from lithophone.hosts.description import WorkerDescription
from lithophone.hosts.ray_serve import cluster as ray_cluster
from lithophone.hosts.ray_serve.cluster import Cluster, ServeDeployment
from lithophone.hosts.ray_serve.deployment import Scale, Served
from lithophone.hosts.ray_serve.host import RayHost
from tests.clusters import Nodes, two_nodes
from tests.conftest import start_server
from tests.hosts.openers import RUNTIME
from tests.recordings import run_ffmpeg

pytest.importorskip("ray")
pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("ignore")]  # Ray's own warnings are not ours

SPEC = FAMILY[DEMONSTRATION_ID]
SPEECH = Path(__file__).resolve().parents[2] / "examples" / "speech"


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    with two_nodes() as nodes:
        yield nodes


@pytest.fixture(scope="module")
def cluster(nodes: Nodes) -> Iterator[Cluster]:
    cluster = Cluster(nodes.address)
    yield cluster
    cluster.leave()


class Staying(ServeDeployment):
    """Leaves the connection to the next test."""

    def leave(self) -> None:
        pass


def window(
    samples: int = 1600, temperature: float = 0.0, live: LiveWindow | None = None
) -> RecognitionRequest:
    return RecognitionRequest(samples=np.full(samples, 0.5, np.float32), temperature=temperature, live=live)


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await scenario()

    asyncio.run(bounded())


@asynccontextmanager
async def hosted(
    cluster: Cluster, opener: str, *arguments: object, scale: Scale | None = None, stays: bool = False
) -> AsyncGenerator[RayHost]:
    """A host whose deployment goes with it, if nobody else has it."""
    description = WorkerDescription(
        opener=f"tests.hosts.openers:{opener}", arguments=arguments, runtime=RUNTIME, log_level="warning"
    )
    served = Served(model_id=SPEC.id, spec=SPEC, description=description)
    deployment = Staying(cluster, served, scale or Scale(min_replicas=2, max_replicas=2))
    host = RayHost(SPEC.id, SPEC, deployment, look_seconds=0.2)
    try:
        yield host
    finally:
        if not stays:
            await asyncio.to_thread(deployment.remove)
        await host.stop()


async def all_replicas(host: RayHost, replicas: int = 2) -> None:
    await host.loaded()
    while host._replicas < replicas:  # noqa: ASYNC110 - what is waited for has no event
        await asyncio.sleep(0.05)


async def heard_by(host: RayHost, request: RecognitionRequest | None = None) -> int:
    """The worker's process that heard a window."""
    request = request or window()
    recognition = await host.open_recogniser().recognise(request)
    pid, samples = map(int, recognition.text.split())
    assert samples == len(request.samples)
    return pid


def replica_of(worker: int) -> psutil.Process:
    """The actor above a worker's process."""
    replica = psutil.Process(worker).parent()
    assert replica is not None
    return replica


async def replicas(host: RayHost) -> set[int]:
    return set(await asyncio.gather(*(heard_by(host) for _ in range(40))))


def test_windows_are_spread_over_the_replicas_and_each_is_answered_with_its_own_text(
    cluster: Cluster,
) -> None:
    async def scenario() -> None:
        async with hosted(cluster, "open_fake", 0.02) as host:
            await all_replicas(host)
            lengths = [1, 480_000, 7, 16_000] * 10
            workers = set(await asyncio.gather(*(heard_by(host, window(n)) for n in lengths)))
            assert len(workers) == 2
            assert os.getpid() not in {replica_of(worker).pid for worker in workers}
            assert host.state is HostState.READY
            assert host.tally.windows == len(lengths)
            assert host.info is not None

    run(scenario)


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSEGV])
def test_a_replica_that_dies_in_mid_window_costs_time_alone(cluster: Cluster, sent: signal.Signals) -> None:
    async def scenario() -> None:
        async with hosted(cluster, "open_fake", 0.5) as host:
            await all_replicas(host)
            before = await replicas(host)
            asked = [asyncio.create_task(heard_by(host, window(n))) for n in range(100, 116)]
            await asyncio.sleep(0.3)
            (first, *_) = before
            os.kill(replica_of(first).pid, sent)
            answered = await asyncio.gather(*asked)
            assert first not in answered
            assert host.tally.restarts == 1
            assert host.state is HostState.READY
            await all_replicas(host)
            assert len(await replicas(host) - {first}) >= 1

    run(scenario)


def test_a_node_that_dies_in_mid_window_costs_time_alone(cluster: Cluster, nodes: Nodes) -> None:
    async def scenario() -> None:
        async with hosted(cluster, "open_fake", 0.5) as host:
            await all_replicas(host)
            asked = [asyncio.create_task(heard_by(host, window(n))) for n in range(100, 116)]
            await asyncio.sleep(0.3)
            nodes.kill(nodes.working[0])
            assert len(await asyncio.gather(*asked)) == 16
            nodes.add()
            await all_replicas(host)
            assert host.state is HostState.READY

    run(scenario)


def test_a_node_that_is_drained_is_left_without_a_lost_window(cluster: Cluster, nodes: Nodes) -> None:
    async def scenario() -> None:
        async with hosted(cluster, "open_fake", 0.05) as host:
            await all_replicas(host)
            before = await replicas(host)
            leaving = nodes.working[0]
            await asyncio.to_thread(nodes.drain, leaving)
            seen: set[int] = set()
            while not seen - before:
                seen = await replicas(host)
            while (await replicas(host)) >= before:
                pass
            assert host.tally.restarts == 0
            nodes.kill(leaving)
            nodes.add()
            assert await replicas(host) - before

    run(scenario)


def test_a_window_that_kills_workers_fails_alone_and_kills_no_replica(cluster: Cluster) -> None:
    async def scenario() -> None:
        async with hosted(cluster, "open_deadly") as host:
            await host.loaded()
            deadly = asyncio.create_task(host.open_recogniser().recognise(window(temperature=0.9)))
            others = [asyncio.create_task(host.open_recogniser().recognise(window())) for _ in range(3)]
            with pytest.raises(InternalError, match="twice"):
                await deadly
            assert all(one.text for one in await asyncio.gather(*others))
            assert host.tally.restarts == 0

    run(scenario)


def test_a_cancelled_job_stops_on_its_replica(cluster: Cluster) -> None:
    async def scenario() -> None:
        async with hosted(cluster, "open_fake", 3.0, 1, scale=Scale()) as host:
            await host.loaded()
            recogniser = host.open_recogniser()
            forgotten = [asyncio.create_task(recogniser.recognise(window())) for _ in range(5)]
            await asyncio.sleep(0.5)
            began = time.monotonic()
            recogniser.cancel()
            for one in forgotten:
                with pytest.raises(RequestCancelledError):
                    await one
            await heard_by(host)
            assert time.monotonic() - began < 7.0  # 3 s of its own, and no more than one of those before it

    run(scenario)


def test_windows_of_a_live_session_stay_with_a_replica(cluster: Cluster) -> None:
    async def scenario() -> None:
        async with hosted(cluster, "open_fake") as host:
            await all_replicas(host)
            for session in ("a", "b", "c"):
                live = LiveWindow(key=session)
                assert len({await heard_by(host, window(live=live)) for _ in range(6)}) == 1
            spread = {await heard_by(host, window(live=LiveWindow(key=str(n)))) for n in range(16)}
            assert len(spread) == 2

    run(scenario)


def test_a_model_that_cannot_be_loaded_is_said_in_its_own_words(cluster: Cluster) -> None:
    async def scenario() -> None:
        async with hosted(cluster, "refuse", scale=Scale()) as host:
            for _ in range(2):
                with pytest.raises(ModelFailedError, match=r"needs 17 GB$"):
                    await host.loaded()
                assert host.state is HostState.FAILED

    run(scenario)


def test_a_new_revision_rolls_in_without_a_failed_window(cluster: Cluster) -> None:
    async def scenario() -> None:
        async with hosted(cluster, "open_fake", 0.05) as old:
            await all_replicas(old)
            before = await replicas(old)
            async with hosted(cluster, "open_fake", 0.06, stays=True) as new:
                new.start()
                seen: set[int] = set()
                while len(seen - before) < 2:
                    seen |= await replicas(old)
                await new.loaded()
                assert await heard_by(new) not in before

    run(scenario)


def test_a_second_server_of_the_same_model_finds_its_replicas_and_replaces_none(cluster: Cluster) -> None:
    async def scenario() -> None:
        async with hosted(cluster, "open_fake") as one:
            await all_replicas(one)
            before = await replicas(one)
            async with hosted(cluster, "open_fake", stays=True) as other:
                await all_replicas(other)
                await asyncio.sleep(1.0)
                seen: set[int] = set()
                while len(seen) < len(before):  # which one hears a window is chance
                    seen |= await replicas(other)
                assert seen == before

    run(scenario)


def test_replicas_come_and_go_with_the_audio_that_waits(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_cluster, "UPSCALE_SECONDS", 0.5)
    monkeypatch.setattr(ray_cluster, "DOWNSCALE_SECONDS", 0.5)
    scale = Scale(min_replicas=1, max_replicas=2, queued_seconds=20.0, idle_seconds=1.0)

    async def scenario() -> None:
        async with hosted(cluster, "open_fake", 2.0, 1, scale=scale) as host:
            await host.loaded()
            long = [asyncio.create_task(heard_by(host, window(480_000))) for _ in range(10)]
            await all_replicas(host)
            await asyncio.gather(*long)
            while host.state is not HostState.COLD:  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.1)
            assert host._replicas == 0
            with host.in_use():
                await host.loaded()
                assert await heard_by(host)

    run(scenario)


def test_an_address_without_a_cluster_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="--ray-address nowhere"):
        ServeDeployment(
            Cluster("nowhere"),
            Served(model_id="x", spec=SPEC, description=WorkerDescription(opener="x:y")),
            Scale(),
        ).connect()


def test_files_are_transcribed_by_replicas(nodes: Nodes, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "lithophone",
        "transcribe",
        str(SPEECH / "demo.flac"),
        "--cpu-threads",
        "1",
    ]
    command += ["--hosts", "ray", "--ray-address", nodes.address, "--output-dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "demo.txt").read_text().startswith("nancy wants to sell")


def minutes_of_speech(count: int) -> bytes:
    """A file that takes the demonstration model a moment for each minute."""
    repeated = ("-stream_loop", "-1", "-i", str(SPEECH / "demo.flac"), "-t", str(60 * count))
    return run_ffmpeg(*repeated, "-c:a", "libopus", "-b:a", "24k", "-f", "ogg", "pipe:1")


def test_a_keys_limit_holds_for_two_servers_together_also_after_one_of_them_has_died(
    nodes: Nodes, tmp_path: Path
) -> None:
    keys = {name: f"key-of-{name}" for name in ("ann", "bob")}
    (tmp_path / "keys.toml").write_text(
        "".join(
            f'[[keys]]\nname = "{name}"\nsha256 = "{hashlib.sha256(key.encode()).hexdigest()}"\nmax_requests = 1\n'
            for name, key in keys.items()
        )
    )
    flags = ("--hosts", "ray", "--ray-address", nodes.address, "--place-wait-seconds", "5")
    flags += ("--api-keys-file", str(tmp_path / "keys.toml"))
    (first, first_url), (second, second_url) = (start_server(*flags) for _ in range(2))

    def ask(url: str, owner: str, audio: bytes) -> int:
        answer = httpx.post(
            f"{url}/v1/audio/transcriptions",
            headers={"Authorization": f"Bearer {keys[owner]}"},
            data={"model": "whisper-1"},
            files={"file": ("speech", audio)},
            timeout=90,
        )
        return answer.status_code

    short, long = (SPEECH / "demo.flac").read_bytes(), minutes_of_speech(60)
    try:
        with ThreadPoolExecutor() as pool:
            at_work = pool.submit(ask, first_url, "ann", long)
            while (status := ask(second_url, "ann", short)) == 200:
                assert not at_work.done()
            assert status == 429
            assert ask(second_url, "bob", short) == 200
            assert ask(first_url, "bob", short) == 200
            assert not at_work.done()
            first.kill()
            assert isinstance(at_work.exception(), httpx.TransportError)
            deadline = time.monotonic() + 30
            while ask(second_url, "ann", short) != 200:
                assert time.monotonic() < deadline
            with ThreadPoolExecutor() as both:
                assert sorted(both.map(lambda owner: ask(second_url, owner, short), ["ann", "bob"])) == [
                    200,
                    200,
                ]
    finally:
        for server in (first, second):
            server.terminate()
            server.communicate(timeout=60)
