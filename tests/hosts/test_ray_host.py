"""A model on a cluster as the server sees it, with a cluster that does as it is told. Needs no Ray."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithophone.backends.base import BackendInfo, Recognition, RecognitionRequest
from lithophone.backends.fake import FakeBackend
from lithophone.errors import (
    ConfigurationError,
    InternalError,
    ModelFailedError,
    RequestCancelledError,
    UnavailableError,
)
from lithophone.granite.family import DEMONSTRATION_ID, FAMILY
from lithophone.hosts.base import HostState
from lithophone.hosts.ray_serve.deployment import (
    CallCancelledError,
    ReplicaLostError,
    Scale,
    Seen,
    last_words,
)
from lithophone.hosts.ray_serve.host import MOST_LOSSES, RayHost
from lithophone.hosts.ray_serve.scaling import QUEUED_METRIC, QueuedAudio, replicas_for
from lithophone.model_hosts import build_models
from lithophone.settings import Settings
from lithophone.worker.messages import Recognise, Recognised
from tests.hosts.puppet import until

SPEC = FAMILY[DEMONSTRATION_ID]
WINDOW = RecognitionRequest(samples=np.zeros(16_000, np.float32))
TEXT = Recognition(text="hello", tokens=(), prompt_tokens=0, audio_tokens=0, no_speech_probability=0.0)


class PuppetCall:
    """Is answered by the test."""

    def __init__(self, message: Recognise | None = None) -> None:
        self.message = message
        self.told: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.cancelled = False

    async def answer(self) -> Any:
        return await self.told

    def cancel(self) -> None:
        self.cancelled = True
        if not self.told.done():
            self.told.set_exception(CallCancelledError())
            self.told.exception()

    def lose(self, replica: str) -> None:
        self.told.set_exception(ReplicaLostError("it died", replica))

    def hear(self, seconds: float = 0.1) -> None:
        assert self.message is not None
        self.told.set_result(Recognised(self.message.work_id, TEXT, seconds))


class PuppetDeployment:
    def __init__(self, scale: Scale) -> None:
        self.scale = scale
        self.seen = Seen(exists=True, replicas=1)
        self.done: list[str] = []
        self.descriptions: list[PuppetCall] = []
        self.calls: list[PuppetCall] = []

    def connect(self) -> None:
        self.done.append("connect")

    def deploy(self) -> None:
        self.done.append("deploy")

    def look(self) -> Seen:
        return self.seen

    def remove(self) -> None:
        self.done.append("remove")

    def leave(self) -> None:
        self.done.append("leave")

    def describe(self) -> PuppetCall:
        self.descriptions.append(PuppetCall())
        return self.descriptions[-1]

    def recognise(self, message: Recognise) -> PuppetCall:
        self.calls.append(PuppetCall(message))
        return self.calls[-1]

    async def asked(self, calls: int) -> PuppetCall:
        await until(lambda: len(self.calls) >= calls)
        return self.calls[-1]


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await scenario()

    asyncio.run(bounded())


@asynccontextmanager
async def hosted(
    scale: Scale | None = None, *, loaded: bool = True
) -> AsyncGenerator[tuple[RayHost, PuppetDeployment]]:
    deployment = PuppetDeployment(scale or Scale())
    host = RayHost(SPEC.id, SPEC, deployment, look_seconds=0.01)
    if loaded:
        host.start()
        await until(lambda: bool(deployment.descriptions))
        deployment.descriptions[0].told.set_result(FakeBackend().info)
        await host.loaded()
    try:
        yield host, deployment
    finally:
        await host.stop()


def asked(host: RayHost) -> asyncio.Task[Recognition]:
    return asyncio.create_task(host.open_recogniser().recognise(WINDOW))


def test_a_model_is_deployed_once_and_ready_when_a_replica_says_what_it_is() -> None:
    async def scenario() -> None:
        async with hosted() as (host, deployment):
            assert host.state is HostState.READY
            assert isinstance(host.info, BackendInfo)
            await host.loaded()
            assert deployment.done == ["connect", "deploy"]
            assert host.tally.loads == 1
        assert deployment.done[-1] == "leave"
        assert host.state is HostState.STOPPED

    run(scenario)


def test_a_window_is_answered_and_counted() -> None:
    async def scenario() -> None:
        async with hosted() as (host, deployment):
            window = asked(host)
            (await deployment.asked(1)).hear(seconds=0.0)
            assert (await window).text == "hello"
            assert (host.tally.windows, host.tally.audio_seconds) == (1, 1.0)
            assert host.is_idle

    run(scenario)


def test_a_lost_replicas_window_is_tried_elsewhere_until_it_has_lost_too_many() -> None:
    async def scenario() -> None:
        async with hosted() as (host, deployment):
            saved, unlucky = asked(host), asked(host)
            await deployment.asked(2)
            for call in list(deployment.calls):
                call.lose("a")
            await deployment.asked(4)
            assert host.tally.restarts == 1
            first, second = deployment.calls[2:]
            assert first.message == deployment.calls[0].message
            first.hear()
            assert (await saved).text == "hello"
            second.lose("b")
            for asked_before in range(4, 2 + MOST_LOSSES):
                (await deployment.asked(asked_before + 1)).lose(f"replica {asked_before}")
            with pytest.raises(UnavailableError, match="try again"):
                await unlucky
            assert len(deployment.calls) == 2 + MOST_LOSSES

    run(scenario)


def test_a_replica_that_is_asked_again_before_the_cluster_knows_counts_once() -> None:
    async def scenario() -> None:
        async with hosted() as (host, deployment):
            window = asked(host)
            for times in range(1, 5):
                (await deployment.asked(times)).lose("a")
            (await deployment.asked(5)).hear()
            assert (await window).text == "hello"

    run(scenario)


def test_what_a_replica_raises_is_what_the_job_gets() -> None:
    async def scenario() -> None:
        async with hosted() as (host, deployment):
            window = asked(host)
            (await deployment.asked(1)).told.set_exception(InternalError("broke"))
            with pytest.raises(InternalError, match="broke"):
                await window
            assert len(deployment.calls) == 1

    run(scenario)


def test_a_cancelled_job_takes_its_calls_back_and_no_other_ones() -> None:
    async def scenario() -> None:
        async with hosted() as (host, deployment):
            recogniser = host.open_recogniser()
            forgotten = [asyncio.create_task(recogniser.recognise(WINDOW)) for _ in range(2)]
            kept = asked(host)
            await deployment.asked(3)
            recogniser.cancel()
            for one in forgotten:
                with pytest.raises(RequestCancelledError):
                    await one
            assert [call.cancelled for call in deployment.calls] == [True, True, False]
            deployment.calls[2].hear()
            await kept

    run(scenario)


def test_a_window_that_nobody_waits_for_is_taken_back() -> None:
    async def scenario() -> None:
        async with hosted() as (host, deployment):
            window = asked(host)
            call = await deployment.asked(1)
            window.cancel()
            await asyncio.wait((window,))
            assert call.cancelled
            assert host.is_idle

    run(scenario)


def test_windows_under_way_are_told_of_the_servers_end() -> None:
    async def scenario() -> None:
        async with hosted() as (host, deployment):
            window = asked(host)
            await deployment.asked(1)
            await host.stop()
            with pytest.raises(UnavailableError, match="stopping"):
                await window

    run(scenario)


def test_a_model_that_no_replica_can_load_is_said_in_its_words_and_tried_again_when_asked_for() -> None:
    async def scenario() -> None:
        async with hosted(loaded=False) as (host, deployment):
            deployment.seen = Seen(exists=True, failure="needs 17 GB")
            with pytest.raises(ModelFailedError, match="needs 17 GB"):
                await host.loaded()
            assert host.state is HostState.FAILED
            deployment.seen = Seen(exists=True, replicas=1)
            again = asyncio.create_task(host.loaded())
            await until(lambda: len(deployment.descriptions) == 2)
            deployment.descriptions[1].told.set_result(FakeBackend().info)
            await again
            assert host.failure is None

    run(scenario)


def test_without_a_replica_it_is_restarting_and_whoever_waits_is_told_of_the_next() -> None:
    async def scenario() -> None:
        async with hosted() as (host, deployment):
            deployment.seen = Seen(exists=True, trouble="no node has a GPU free")
            await until(lambda: host.state is HostState.RESTARTING)
            assert host.failure == "no node has a GPU free"
            waiting = asyncio.create_task(host.loaded())
            deployment.seen = Seen(exists=True, replicas=1)
            await waiting
            assert host.state is HostState.READY

    run(scenario)


@pytest.mark.parametrize(
    ("scale", "seen"), [(Scale(idle_seconds=1), Seen(exists=True)), (Scale(), Seen(exists=False))]
)
def test_a_model_scaled_to_zero_or_removed_is_cold(scale: Scale, seen: Seen) -> None:
    async def scenario() -> None:
        async with hosted(scale) as (host, deployment):
            deployment.seen = seen
            await until(lambda: host.state is HostState.COLD)
            host.start()
            await until(lambda: len(deployment.descriptions) == 2)

    run(scenario)


def test_unloading_ends_the_replicas_unless_the_model_is_in_use() -> None:
    async def scenario() -> None:
        async with hosted() as (host, deployment):
            with host.in_use():
                await host.unload()
            assert "remove" not in deployment.done
            await host.unload()
            assert deployment.done[-1] == "remove"
            assert host.state is HostState.COLD

    run(scenario)


def test_more_windows_run_ahead_the_more_replicas_there_are_or_may_be() -> None:
    async def room(scale: Scale, replicas: int) -> int:
        async with hosted(scale) as (host, deployment):
            deployment.seen = Seen(exists=True, replicas=replicas)
            await until(lambda: host._replicas == replicas)
            windows: list[asyncio.Task[Recognition]] = []
            while host.wants_more:
                windows.append(asked(host))
                await asyncio.sleep(0)
            await host.stop()
            await asyncio.gather(*windows, return_exceptions=True)
            return len(windows)

    async def scenario() -> None:
        one = await room(Scale(), 1)
        assert await room(Scale(min_replicas=3, max_replicas=3), 3) == 3 * one
        assert await room(Scale(max_replicas=3), 1) == 2 * one

    run(scenario)


def test_a_signal_that_a_library_takes_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    set_again: list[Any] = []
    before = signal.getsignal(signal.SIGTERM)

    async def scenario() -> None:
        monkeypatch.setattr(signal, "signal", lambda number, handler: set_again.append((number, handler)))
        async with hosted():
            assert (signal.SIGTERM, before) in set_again
        monkeypatch.undo()

    run(scenario)


@given(st.lists(st.floats(0, 1e6, allow_subnormal=False), max_size=20), st.floats(1, 1e4))
def test_replicas_hold_what_there_is_and_one_fewer_would_not(queued: list[float], target: float) -> None:
    replicas = replicas_for(queued, target)
    assert replicas * target >= sum(queued) * (1 - 1e-9)
    assert replicas == 0 or (replicas - 1) * target < sum(queued)


class Context:
    def __init__(self, queued: dict[str, float], waiting: float = 0.0) -> None:
        self.current_num_replicas = len(queued)
        self.total_queued_requests = waiting
        self.aggregated_metrics = {QUEUED_METRIC: queued} if queued else None


@pytest.mark.parametrize(
    ("context", "replicas"),
    [
        (Context({}), 0),
        (Context({}, waiting=3), 1),
        (Context({"a": 0.0}), 0),
        (Context({"a": 100.0}), 1),
        (Context({"a": 150.0, "b": 151.0}), 4),
        (Context({"a": 10.0, "b": 10.0}, waiting=1), 3),
    ],
)
def test_replicas_follow_the_audio_that_waits(context: Context, replicas: int) -> None:
    assert QueuedAudio(target_seconds=100.0)(context) == (replicas, {})


def test_of_a_replicas_traceback_the_last_words_are_told() -> None:
    traceback = "failed 1 times\n  File x\nlithophone.errors.ModelFailedError: needs 17 GB\n"
    assert last_words(traceback, ("ModelFailedError",)) == "needs 17 GB"
    assert last_words("no node has room", ("ModelFailedError",)) == "no node has room"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (Settings(hosts="ray", memory_budget_gb=3.0), "--memory-budget-gb"),
        (Settings(hosts="ray", ray_min_replicas=2), "--ray-max-replicas 1 is less"),
    ],
)
def test_what_makes_no_sense_on_a_cluster_is_refused(
    settings: Settings, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lithophone.hosts.ray_serve.cluster.find_spec", lambda _: object())
    with pytest.raises(ConfigurationError, match=words):
        build_models(settings)


def test_without_ray_the_command_says_what_to_install() -> None:
    hidden = (
        "import sys; from importlib import util; find = util.find_spec\n"
        "util.find_spec = lambda name, *more: None if name == 'ray' else find(name, *more)\n"
        "from lithophone.cli import main\n"
        "sys.exit(main(['serve', '--hosts', 'ray', '--port', '0']))"
    )
    done = subprocess.run([sys.executable, "-c", hidden], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "pip install 'lithophone[ray]'" in done.stderr


def test_ray_is_not_imported_unless_it_was_asked_for() -> None:
    code = (
        "import sys; from lithophone.model_hosts import build_models; from lithophone.settings import Settings\n"
        "build_models(Settings()); print('ray' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
