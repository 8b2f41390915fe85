"""Several models that share one memory: who is loaded, who makes room, who waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest

from lithophone.errors import LoadingError, ModelFailedError, ModelInUseError, UnavailableError
from lithophone.granite.family import DEMONSTRATION_ID, FAMILY
from lithophone.hosts.base import HostState
from lithophone.hosts.models import Models
from lithophone.hosts.supervised import SupervisedHost
from lithophone.worker.messages import Grown, LoadFailed
from tests.hosts.puppet import Puppet, loaded_with, until

GB = 10**9


class Shelf:
    """Models whose workers the test plays."""

    def __init__(self, *names: str, **options: Any) -> None:
        self.puppets = {name: Puppet() for name in names}
        self.measured: list[tuple[str, int]] = []
        self.models = Models([self._host(name) for name in names], **options)

    def _host(self, name: str) -> SupervisedHost:
        spec = msgspec.structs.replace(FAMILY[DEMONSTRATION_ID], id=name)
        return SupervisedHost(
            name,
            spec,
            self.puppets[name],
            on_measured=lambda _, memory_bytes: self.measured.append((name, memory_bytes)),
        )

    def states(self) -> list[HostState]:
        return [host.state for host in self.models.hosts]

    async def put(self, name: str, memory_bytes: int = GB, workers: int = 1) -> None:
        """Load a model."""
        loading = asyncio.create_task(self.models.load(name))
        (await self.puppets[name].count(workers)).tell(loaded_with(memory_bytes))
        await loading


class Use:
    """A request that holds a model until it is told to end."""

    def __init__(self, models: Models, name: str) -> None:
        self._may_end = asyncio.Event()
        self.has_begun = asyncio.Event()
        self.task = asyncio.create_task(self._run(models, name))

    async def _run(self, models: Models, name: str) -> None:
        async with models.use(name):
            self.has_begun.set()
            await self._may_end.wait()

    async def end(self) -> None:
        self._may_end.set()
        await self.task


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await scenario()

    asyncio.run(bounded())


def test_where_the_budget_is_short_the_idle_model_used_least_recently_goes() -> None:
    async def scenario() -> None:
        shelf = Shelf("a", "b", "c", budget_bytes=3 * GB)
        await shelf.put("a")
        await shelf.put("b")
        async with shelf.models.use("a"):  # b was used least recently now
            pass
        loading = asyncio.create_task(shelf.models.load("c"))
        worker = await shelf.puppets["c"].count(1)
        assert worker.room_bytes == GB, "what the other two leave"
        worker.tell(LoadFailed("needs 2.0 GB", lacking_bytes=GB))
        worker = await shelf.puppets["c"].count(2)
        assert shelf.states() == [HostState.READY, HostState.COLD, HostState.LOADING]
        assert worker.room_bytes == 2 * GB
        worker.tell(loaded_with(2 * GB))
        assert (await loading).state is HostState.READY
        await shelf.models.stop()

    run(scenario)


def test_what_a_model_is_known_to_take_is_made_free_before_it_is_loaded() -> None:
    async def scenario() -> None:
        shelf = Shelf("a", "b", budget_bytes=3 * GB)
        await shelf.put("b", 2 * GB)
        await shelf.models.unload("b")
        await shelf.put("a", 2 * GB)
        await shelf.put("b", 2 * GB, workers=2)
        assert shelf.puppets["b"].last.room_bytes == 3 * GB
        assert shelf.states() == [HostState.COLD, HostState.READY]
        assert len(shelf.puppets["b"].launched) == 2, "no load that had to fail first"
        await shelf.models.stop()

    run(scenario)


def test_a_model_at_work_is_never_unloaded_and_whoever_needs_its_memory_waits() -> None:
    async def scenario() -> None:
        shelf = Shelf("a", "b")
        await shelf.put("a")
        use = Use(shelf.models, "a")
        await use.has_begun.wait()
        loading = asyncio.create_task(shelf.models.load("b"))
        (await shelf.puppets["b"].count(1)).tell(LoadFailed("needs 1.0 GB", lacking_bytes=GB))
        await asyncio.sleep(0.05)
        assert shelf.states() == [HostState.READY, HostState.FAILED]
        assert not loading.done()
        await use.end()
        (await shelf.puppets["b"].count(2)).tell(loaded_with(GB))
        await loading
        assert shelf.states() == [HostState.COLD, HostState.READY]
        await shelf.models.stop()

    run(scenario)


def test_what_would_not_fit_even_alone_is_refused_with_the_sum() -> None:
    async def scenario() -> None:
        shelf = Shelf("a", "b")
        await shelf.put("a", GB)
        use = Use(shelf.models, "a")
        await use.has_begun.wait()
        loading = asyncio.create_task(shelf.models.load("b"))
        (await shelf.puppets["b"].count(1)).tell(
            LoadFailed("needs 9.0 GB, but 1.0 GB is free", lacking_bytes=8 * GB)
        )
        with pytest.raises(ModelFailedError, match=r"9\.0 GB.*a 1\.0 GB"):
            await loading
        await use.end()
        await shelf.models.stop()

    run(scenario)


def test_a_load_that_nobody_waits_for_any_more_does_not_hold_up_the_others() -> None:
    async def scenario() -> None:
        shelf = Shelf("a", "b", "c", load_wait_seconds=0.1)
        await shelf.put("a")
        use = Use(shelf.models, "a")
        await use.has_begun.wait()
        loading = asyncio.create_task(shelf.models.load("b"))
        (await shelf.puppets["b"].count(1)).tell(LoadFailed("needs 1.0 GB", lacking_bytes=GB))
        await loading
        await shelf.put("c", GB // 2)
        await use.end()
        assert shelf.states() == [HostState.READY, HostState.FAILED, HostState.READY]
        await shelf.models.stop()

    run(scenario)


def test_one_model_is_loaded_at_a_time_so_that_each_knows_what_is_free() -> None:
    async def scenario() -> None:
        shelf = Shelf("a", "b", "c", budget_bytes=4 * GB)
        first, second = (asyncio.create_task(shelf.models.load(name)) for name in "bc")
        worker = await shelf.puppets["b"].count(1)
        await asyncio.sleep(0.05)
        assert not shelf.puppets["c"].launched
        worker.tell(loaded_with(3 * GB))
        await first
        worker = await shelf.puppets["c"].count(1)
        assert worker.room_bytes == GB
        worker.tell(loaded_with(GB))
        await second
        await shelf.models.stop()

    run(scenario)


def test_a_client_that_leaves_does_not_end_the_loading_that_others_wait_for() -> None:
    async def scenario() -> None:
        shelf = Shelf("a", "b")
        leaving, staying = Use(shelf.models, "b"), Use(shelf.models, "b")
        worker = await shelf.puppets["b"].count(1)
        leaving.task.cancel()
        await asyncio.wait([leaving.task])
        worker.tell(loaded_with(GB))
        await staying.has_begun.wait()
        await staying.end()
        assert len(shelf.puppets["b"].launched) == 1
        await shelf.models.stop()

    run(scenario)


def test_an_operator_unloads_what_has_nothing_to_do() -> None:
    async def scenario() -> None:
        shelf = Shelf("a", "b", load_wait_seconds=0.1)
        await shelf.put("a")
        use = Use(shelf.models, "a")
        await use.has_begun.wait()
        with pytest.raises(ModelInUseError):
            await shelf.models.unload("a")
        await use.end()
        await shelf.models.unload("a")
        await shelf.models.unload("b")  # is not loaded, which is what is asked for
        assert shelf.states() == [HostState.COLD, HostState.COLD]
        assert shelf.puppets["a"].last.stopped
        await shelf.models.load("b")
        assert shelf.states() == [HostState.COLD, HostState.LOADING]
        await shelf.models.unload("b")
        assert shelf.states() == [HostState.COLD, HostState.COLD]
        await shelf.models.stop()

    run(scenario)


def test_whoever_waits_when_the_server_stops_is_told() -> None:
    async def scenario() -> None:
        shelf = Shelf("a", "b")
        waiting = Use(shelf.models, "b")
        await shelf.puppets["b"].count(1)
        queued = Use(shelf.models, "a")
        await asyncio.sleep(0.05)
        await shelf.models.stop()
        for one in (waiting, queued):
            with pytest.raises(UnavailableError):
                await one.task
        with pytest.raises(UnavailableError):
            await shelf.models.load("a")

    run(scenario)


def test_what_a_model_takes_is_told_when_it_is_loaded_and_when_it_grows() -> None:
    async def scenario() -> None:
        shelf = Shelf("a")
        await shelf.put("a", GB)
        shelf.puppets["a"].last.tell(Grown(2 * GB))
        assert shelf.models.default.memory_bytes == 2 * GB
        assert shelf.measured == [("a", GB), ("a", 2 * GB)]
        await shelf.models.stop()

    run(scenario)


def test_a_request_for_a_model_that_takes_long_hears_when_to_come_again() -> None:
    async def scenario() -> None:
        shelf = Shelf("a", load_wait_seconds=0.05)
        shelf.models.start()
        with pytest.raises(LoadingError):
            await Use(shelf.models, "a").task
        shelf.puppets["a"].last.tell(loaded_with(GB))
        use = Use(shelf.models, "a")
        await use.has_begun.wait()
        await use.end()
        await until(lambda: shelf.models.default.is_idle)
        await shelf.models.stop()

    run(scenario)
