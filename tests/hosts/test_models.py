from __future__ import annotations

import asyncio
import threading

import msgspec
import pytest

from lithophone.backends.base import Backend
from lithophone.backends.fake import FakeBackend, PlainRuntime
from lithophone.errors import DoesNotFitError, LoadingError, ModelFailedError
from lithophone.granite.family import DEMONSTRATION_ID, FAMILY
from lithophone.hosts.base import HostState
from lithophone.hosts.models import Models, require_ready
from lithophone.hosts.supervised import SupervisedHost
from lithophone.hosts.thread import in_thread

SPEC = FAMILY[DEMONSTRATION_ID]


def host(model_id: str, opener: type[FakeBackend] | None = None) -> SupervisedHost:
    spec = msgspec.structs.replace(SPEC, id=model_id)
    return SupervisedHost(model_id, spec, in_thread(opener or FakeBackend, PlainRuntime()))


def test_the_first_is_the_default_and_the_others_are_loaded_when_asked_for() -> None:
    async def scenario() -> None:
        models = Models([host("a"), host("b")])
        assert models.default.model_id == "a"
        models.start()
        await models.default.loaded()
        assert [one.state for one in models.hosts] == [HostState.READY, HostState.COLD]
        async with models.use("b") as used:
            assert used.model_id == "b"
            assert used.state is HostState.READY
        with pytest.raises(KeyError):
            async with models.use("c"):
                pass
        await models.stop()
        assert {one.state for one in models.hosts} == {HostState.STOPPED}

    asyncio.run(scenario())


def test_a_request_waits_for_a_model_only_so_long() -> None:
    may_load = threading.Event()

    def slow() -> Backend:
        may_load.wait(10)
        return FakeBackend()

    async def scenario() -> None:
        models = Models([SupervisedHost("a", SPEC, in_thread(slow, PlainRuntime()))], load_wait_seconds=0.05)
        with pytest.raises(LoadingError):
            async with models.use("a"):
                pass
        with pytest.raises(LoadingError):
            require_ready(models.default)
        may_load.set()
        await models.default.loaded()
        async with models.use("a"):
            require_ready(models.default)
        await models.stop()

    asyncio.run(scenario())


def test_a_model_that_does_not_fit_is_said_to_whoever_asks_for_it() -> None:
    def refuse() -> Backend:
        raise DoesNotFitError("needs 17 GB")

    async def scenario() -> None:
        models = Models([SupervisedHost("a", SPEC, in_thread(refuse, PlainRuntime()))])
        with pytest.raises(ModelFailedError, match="17 GB"):
            async with models.use("a"):
                pass
        with pytest.raises(ModelFailedError, match="17 GB"):
            require_ready(models.default)
        await models.stop()

    asyncio.run(scenario())


def test_there_must_be_models_of_different_names() -> None:
    for hosts in ([], [host("a"), host("a")]):
        with pytest.raises(ValueError, match="name"):
            Models(hosts)
