"""A model behind a host: states, windows in exchange for recognitions, and what happens when a worker ends."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest

from lithophone.backends.base import Backend, Fault, Recognition, RecognitionRequest
from lithophone.backends.fake import FakeBackend, PlainRuntime
from lithophone.errors import (
    InternalError,
    ModelFailedError,
    NotFiniteAnswerError,
    OutOfMemoryError,
    UnavailableError,
)
from lithophone.granite.family import DEMONSTRATION_ID, FAMILY
from lithophone.hosts import supervised
from lithophone.hosts.base import HostState
from lithophone.hosts.models import require_ready
from lithophone.hosts.supervised import SupervisedHost
from lithophone.hosts.thread import in_thread
from lithophone.worker.messages import (
    Cancel,
    Cause,
    Failed,
    LoadFailed,
    Lost,
    Recognised,
    Started,
)
from tests.hosts.puppet import LOADED, Puppet, PuppetCarrier, until

SPEC = FAMILY[DEMONSTRATION_ID]
REQUEST = RecognitionRequest(samples=np.full(1600, 0.5, np.float32))


def said(text: str) -> Recognition:
    return Recognition(text=text, tokens=(), prompt_tokens=0, audio_tokens=0, no_speech_probability=0.0)


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await scenario()

    asyncio.run(bounded())


def host_of(puppet: Puppet, **options: Any) -> SupervisedHost:
    return SupervisedHost(SPEC.id, SPEC, puppet, **options)


async def ready(host: SupervisedHost, puppet: Puppet) -> PuppetCarrier:
    host.start()
    await until(lambda: bool(puppet.launched))
    puppet.last.tell(LOADED)
    await host.loaded()
    return puppet.last


async def asked(host: SupervisedHost, count: int = 1) -> list[asyncio.Task[Recognition]]:
    tasks = [asyncio.create_task(host.open_recogniser().recognise(REQUEST)) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


def test_a_window_is_sent_and_its_answer_comes_back() -> None:
    async def scenario() -> None:
        puppet = Puppet()
        host = host_of(puppet)
        worker = await ready(host, puppet)
        assert host.state is HostState.READY
        (task,) = await asked(host)
        worker.tell(Recognised(worker.windows[0].work_id, said("yes"), 0.1))
        assert (await task).text == "yes"
        await host.stop()
        assert host.state is HostState.STOPPED
        assert worker.stopped

    run(scenario)


def test_windows_wait_for_a_model_that_is_loaded_for_them() -> None:
    async def scenario() -> None:
        puppet = Puppet()
        host = host_of(puppet)
        assert host.state is HostState.COLD
        (task,) = await asked(host)
        worker = await puppet.count(1)
        assert host.state is HostState.LOADING
        worker.tell(LOADED)
        worker.tell(Recognised(worker.windows[0].work_id, said("yes"), 0.1))
        assert (await task).text == "yes"

    run(scenario)


@pytest.mark.parametrize(
    ("cause", "error"),
    [
        (Cause.MODEL, InternalError),
        (Cause.NOT_FINITE, NotFiniteAnswerError),
        (Cause.OUT_OF_MEMORY, OutOfMemoryError),
    ],
)
def test_every_cause_of_failure_has_an_answer_of_its_own(cause: Cause, error: type[Exception]) -> None:
    async def scenario() -> None:
        puppet = Puppet()
        host = host_of(puppet)
        worker = await ready(host, puppet)
        (task,) = await asked(host)
        worker.tell(Failed(worker.windows[0].work_id, cause, "why"))
        with pytest.raises(error) as failure:
            await task
        assert type(failure.value) is error
        assert host.state is HostState.READY

    run(scenario)


def test_when_a_worker_ends_the_next_one_gets_its_windows_and_no_client_sees_it() -> None:
    async def scenario() -> None:
        puppet = Puppet()
        host = host_of(puppet)
        first = await ready(host, puppet)
        begun, waiting = await asked(host, 2)
        first.tell(Started((first.windows[0].work_id,)))
        first.end("killed by signal 9")
        assert host.state is HostState.RESTARTING
        with pytest.raises(UnavailableError, match="signal 9"):
            require_ready(host)
        second = await puppet.count(2)
        assert [(window.work_id, window.alone) for window in second.windows] == [
            (first.windows[0].work_id, True),
            (first.windows[1].work_id, False),
        ]
        second.tell(LOADED)
        assert host.state is HostState.READY
        for window in second.windows:
            second.tell(Recognised(window.work_id, said("done"), 0.1))
        assert [(await task).text for task in (begun, waiting)] == ["done", "done"]

    run(scenario)


def test_a_lost_device_is_the_reason_told_until_the_next_worker_is_ready() -> None:
    async def scenario() -> None:
        puppet = Puppet()
        host = host_of(puppet)
        worker = await ready(host, puppet)
        worker.tell(Lost("an illegal memory access"))
        worker.end("it stopped")
        assert host.state is HostState.RESTARTING
        assert host.failure == "an illegal memory access"
        (await puppet.count(2)).tell(LOADED)
        assert (host.state, host.failure) == (HostState.READY, None)

    run(scenario)


def test_a_window_two_workers_have_died_of_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervised, "RESTART_DELAYS_SECONDS", (0.0,))

    async def scenario() -> None:
        puppet = Puppet()
        host = host_of(puppet)
        worker = await ready(host, puppet)
        deadly, harmless = await asked(host, 2)
        ids = tuple(window.work_id for window in worker.windows)
        worker.tell(Started(ids))
        worker.end("segmentation fault")
        worker = await puppet.count(2)
        worker.tell(LOADED)
        worker.tell(Started(ids[:1]))  # alone
        worker.end("segmentation fault")
        with pytest.raises(InternalError, match="twice"):
            await deadly
        worker = await puppet.count(3)
        assert [window.work_id for window in worker.windows] == [ids[1]]
        worker.tell(LOADED)
        worker.tell(Recognised(ids[1], said("fine"), 0.1))
        assert (await harmless).text == "fine"

    run(scenario)


def test_workers_that_end_again_and_again_are_started_ever_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervised, "RESTART_DELAYS_SECONDS", (0.0, 0.05, 0.2))

    async def scenario() -> None:
        puppet, waits = Puppet(), list[float]()
        host = host_of(puppet)
        worker = await ready(host, puppet)
        loop = asyncio.get_running_loop()
        for number in range(2, 6):
            began = loop.time()
            worker.end("crash")
            worker = await puppet.count(number)
            waits.append(loop.time() - began)
            worker.tell(LOADED)
        assert waits[0] < 0.05 <= waits[1] < 0.2 <= waits[2]
        (task,) = await asked(host)
        worker.tell(Recognised(worker.windows[0].work_id, said("yes"), 0.1))
        await task
        began = loop.time()
        worker.end("crash")
        await puppet.count(6)
        assert loop.time() - began < 0.05, "a window that was recognised makes up for it"

    run(scenario)


def test_what_an_old_worker_still_says_is_not_heard() -> None:
    async def scenario() -> None:
        puppet = Puppet()
        host = host_of(puppet)
        first = await ready(host, puppet)
        (task,) = await asked(host)
        window = first.windows[0]
        first.end("killed")
        second = await puppet.count(2)
        first.tell(Recognised(window.work_id, said("from the grave"), 0.1))
        first.end("again")
        second.tell(LOADED)
        second.tell(Recognised(window.work_id, said("alive"), 0.1))
        assert (await task).text == "alive"
        assert len(puppet.launched) == 2

    run(scenario)


def test_a_worker_that_ends_while_it_loads_is_a_model_that_cannot_be_loaded() -> None:
    async def scenario() -> None:
        puppet = Puppet()
        host = host_of(puppet)
        waiting = asyncio.create_task(host.loaded())
        (await puppet.count(1)).end("killed by signal 9")
        with pytest.raises(ModelFailedError, match="signal 9"):
            await waiting
        assert host.state is HostState.FAILED

    run(scenario)


def test_a_model_that_failed_is_tried_again_for_the_next_request() -> None:
    async def scenario() -> None:
        puppet = Puppet()
        host = host_of(puppet)
        waiting = asyncio.create_task(host.loaded())
        worker = await puppet.count(1)
        worker.tell(LoadFailed("needs 17 GB"))
        worker.end("it stopped")
        with pytest.raises(ModelFailedError, match="17 GB"):
            await waiting
        again = asyncio.create_task(host.loaded())
        (await puppet.count(2)).tell(LOADED)
        await again
        assert host.state is HostState.READY

    run(scenario)


def test_a_model_that_cannot_be_loaded_again_fails_what_waits_and_goes_on_trying(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(supervised, "RESTART_DELAYS_SECONDS", (0.0,))

    async def scenario() -> None:
        puppet = Puppet()
        host = host_of(puppet)
        worker = await ready(host, puppet)
        (task,) = await asked(host)
        worker.end("killed")
        worker = await puppet.count(2)
        worker.tell(LoadFailed("the GPU is gone"))
        worker.end("it stopped")
        with pytest.raises(ModelFailedError, match="GPU is gone"):
            await task
        assert host.state is HostState.RESTARTING
        (await puppet.count(3)).tell(LOADED)
        assert host.state is HostState.READY

    run(scenario)


def test_work_left_at_the_end_fails_instead_of_hanging() -> None:
    async def scenario() -> None:
        puppet = Puppet()
        host = host_of(puppet)
        await ready(host, puppet)
        (task,) = await asked(host)
        await host.stop()
        with pytest.raises(UnavailableError):
            await task
        with pytest.raises(UnavailableError):
            await host.loaded()
        with pytest.raises(UnavailableError):
            await host.open_recogniser().recognise(REQUEST)

    run(scenario)


def test_nothing_is_started_any_more_once_the_host_was_stopped() -> None:
    async def scenario() -> None:
        puppet = Puppet()
        host = host_of(puppet)
        worker = await ready(host, puppet)
        worker.end("killed")
        await host.stop()
        await asyncio.sleep(0.05)
        assert len(puppet.launched) == 1

    run(scenario)


def test_an_idle_model_is_unloaded_and_loaded_again_on_demand() -> None:
    async def scenario() -> None:
        puppet = Puppet()
        host = host_of(puppet, unload_after_seconds=0.05)
        first = await ready(host, puppet)
        with host.in_use():
            await asyncio.sleep(0.1)
            assert host.state is HostState.READY, "never under a request"
        await until(lambda: host.state is HostState.COLD)
        assert first.stopped
        with host.in_use():
            loading = asyncio.create_task(host.loaded())
            (await puppet.count(2)).tell(LOADED)
            await loading
        require_ready(host)

    run(scenario)


def test_a_model_is_not_loaded_before_the_last_one_has_given_its_memory_back() -> None:
    async def scenario() -> None:
        puppet = Puppet()
        host = host_of(puppet)
        first = await ready(host, puppet)
        first.may_end.clear()
        unloading = asyncio.create_task(host.unload())
        await asyncio.sleep(0)
        loading = asyncio.create_task(host.loaded())
        await asyncio.sleep(0.05)
        assert len(puppet.launched) == 1
        first.may_end.set()
        (await puppet.count(2)).tell(LOADED)
        await loading
        await unloading

    run(scenario)


def test_a_cancelled_job_is_forgotten_by_the_worker() -> None:
    async def scenario() -> None:
        puppet = Puppet()
        host = host_of(puppet)
        worker = await ready(host, puppet)
        recogniser = host.open_recogniser()
        task = asyncio.create_task(recogniser.recognise(REQUEST))
        await asyncio.sleep(0)
        task.cancel()
        recogniser.cancel()
        assert worker.posted[-1] == Cancel(worker.windows[0].job_id)

    run(scenario)


class TestInAThread:
    """The same with real workers, in threads."""

    @staticmethod
    def host(opener: Callable[[], Backend], runtime: PlainRuntime | None = None) -> SupervisedHost:
        return SupervisedHost(SPEC.id, SPEC, in_thread(opener, runtime or PlainRuntime()))

    def test_the_model_is_warmed_up_before_it_is_ready_and_closed_at_the_end(self) -> None:
        async def scenario() -> None:
            backend = FakeBackend()
            host = self.host(lambda: backend)
            await host.loaded()
            assert backend.warm_ups == 1
            assert host.info == backend.info
            assert (await host.open_recogniser().recognise(REQUEST)).text
            await host.stop()
            assert backend.closed

        run(scenario)

    def test_an_unloaded_backend_is_referenced_by_nobody(self) -> None:
        opened: list[weakref.ref[FakeBackend]] = []

        def open_backend() -> Backend:
            backend = FakeBackend()
            opened.append(weakref.ref(backend))
            return backend

        async def scenario() -> None:
            host = self.host(open_backend)
            await host.loaded()
            await host.unload()
            gc.collect()
            assert opened[0]() is None
            assert (await host.open_recogniser().recognise(REQUEST)).text
            assert len(opened) == 2
            await host.stop()

        run(scenario)

    def test_cancelling_a_job_interrupts_the_decoding_that_runs_for_it(self) -> None:
        async def scenario() -> None:
            backend = FakeBackend(lambda _: "heard", delay_seconds=1.0)
            host = self.host(lambda: backend)
            await host.loaded()
            left = host.open_recogniser()
            abandoned = [asyncio.create_task(left.recognise(REQUEST)) for _ in range(20)]
            await asyncio.sleep(0.05)
            for task in abandoned:
                task.cancel()
            left.cancel()
            async with asyncio.timeout(5):  # the twenty would take twenty seconds
                assert (await host.open_recogniser().recognise(REQUEST)).text == "heard"
            assert len(backend.calls) == 2
            await host.stop()

        run(scenario)

    def test_a_dead_device_is_survived_by_every_window(self) -> None:
        class DeadError(Exception):
            pass

        opened: list[FakeBackend] = []

        def hear(_: RecognitionRequest) -> str:
            if len(opened) == 1:
                raise DeadError
            return "after all"

        def open_backend() -> Backend:
            opened.append(FakeBackend(hear, max_batch=4))
            return opened[-1]

        async def scenario() -> None:
            host = self.host(open_backend, PlainRuntime({DeadError: Fault.DEVICE_LOST}))
            await host.loaded()
            texts = await asyncio.gather(*(host.open_recogniser().recognise(REQUEST) for _ in range(6)))
            assert [text.text for text in texts] == ["after all"] * 6
            assert len(opened) == 2
            await host.stop()

        run(scenario)

    def test_a_host_can_be_stopped_while_its_model_loads_and_the_loop_closed(self) -> None:
        may_load, workers = threading.Event(), list[threading.Thread]()

        def load_slowly() -> Backend:
            workers.append(threading.current_thread())
            may_load.wait(10)
            return FakeBackend()

        async def scenario() -> None:
            host = self.host(load_slowly)
            host.start()
            await asyncio.sleep(0.05)
            began = asyncio.get_running_loop().time()
            await host.stop()
            assert asyncio.get_running_loop().time() - began < 3

        run(scenario)
        may_load.set()  # what the worker says now meets a closed loop
        (worker,) = workers
        worker.join(10)
        assert not worker.is_alive()
