import asyncio
import gc
import weakref
from collections.abc import Sequence

import numpy as np
import pytest

from lithophone.backends.base import Backend, RecognitionRequest
from lithophone.backends.fake import FakeBackend
from lithophone.engine import engine as engine_module
from lithophone.engine.engine import Engine, EngineOptions, EngineState
from lithophone.errors import (
    DoesNotFitError,
    DrainingError,
    InternalError,
    ModelFailedError,
    OverloadedError,
    UnavailableError,
)
from tests.engine.conftest import SPEC, running

REQUEST = RecognitionRequest(samples=np.full(1600, 0.5, np.float32))


def test_the_model_is_warmed_up_before_the_engine_is_ready() -> None:
    async def scenario() -> None:
        backend = FakeBackend()
        async with running(backend) as engine:
            assert engine.state is EngineState.READY
            assert backend.warm_ups == 1
            assert engine.info == backend.info
        assert backend.closed
        assert engine.state is EngineState.STOPPED

    asyncio.run(scenario())


def test_telling_languages_apart_is_prepared_before_the_engine_is_ready(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prepared: list[Sequence[str]] = []
    monkeypatch.setattr(engine_module, "prepare_detection", prepared.append)

    async def scenario() -> None:
        async with running(FakeBackend()):
            assert prepared == [SPEC.speech_languages]

    asyncio.run(scenario())


def test_a_model_that_does_not_fit_is_named_and_nothing_is_admitted() -> None:
    def refuse() -> Backend:
        raise DoesNotFitError("needs 17 GB")

    async def scenario() -> None:
        async with running(refuse) as engine:
            assert engine.state is EngineState.FAILED
            with pytest.raises(ModelFailedError, match="17 GB"), engine.admit():
                pass

    asyncio.run(scenario())


def test_one_request_too_many_is_told_when_to_come_back() -> None:
    async def scenario() -> None:
        async with running(FakeBackend(), EngineOptions(max_requests=1)) as engine:
            with engine.admit():
                with pytest.raises(OverloadedError) as failure, engine.admit():
                    pass
                assert int(failure.value.headers["Retry-After"]) >= 1
            with engine.admit():
                pass

    asyncio.run(scenario())


def test_a_draining_engine_finishes_what_runs_and_takes_nothing_new() -> None:
    async def scenario() -> None:
        async with running(FakeBackend(delay_seconds=0.05)) as engine:
            with engine.admit():
                running_work = asyncio.create_task(engine.recognise(1, REQUEST))
                await asyncio.sleep(0.01)
                engine.drain()
                with pytest.raises(DrainingError), engine.admit():
                    pass
                assert (await running_work).text

    asyncio.run(scenario())


def test_work_left_at_the_end_fails_instead_of_hanging() -> None:
    async def scenario() -> None:
        async with running(FakeBackend(delay_seconds=30)) as engine:
            work = asyncio.create_task(engine.recognise(1, REQUEST))
            await asyncio.sleep(0.05)
        with pytest.raises(UnavailableError):
            await work

    asyncio.run(scenario())


def test_a_window_that_breaks_the_model_fails_alone() -> None:
    def hear(request: RecognitionRequest) -> str:
        if request.temperature > 0.5:
            raise RuntimeError("inside")
        return "fine"

    async def scenario() -> None:
        async with running(FakeBackend(hear)) as engine:
            bad = RecognitionRequest(samples=REQUEST.samples, temperature=0.9)
            with pytest.raises(InternalError) as failure:
                await engine.recognise(1, bad)
            assert "inside" not in failure.value.message
            assert (await engine.recognise(2, REQUEST)).text == "fine"

    asyncio.run(scenario())


def test_cancelling_a_job_interrupts_the_decoding_that_runs_for_it() -> None:
    async def scenario() -> None:
        def hear(request: RecognitionRequest) -> str:
            return f"{len(request.samples)}"

        backend = FakeBackend(hear, delay_seconds=1.0)
        async with running(backend) as engine:
            abandoned = [asyncio.create_task(engine.recognise(1, REQUEST)) for _ in range(20)]
            await asyncio.sleep(0.05)
            for task in abandoned:
                task.cancel()
            engine.cancel(1)
            async with asyncio.timeout(5):  # the twenty would take twenty seconds
                assert (await engine.recognise(2, REQUEST)).text == "1600"
            assert len(backend.calls) == 2

    asyncio.run(scenario())


async def becomes(engine: Engine, state: EngineState) -> None:
    async with asyncio.timeout(5):
        while engine.state is not state:  # noqa: ASYNC110 - the engine has no event for it, and needs none
            await asyncio.sleep(0.01)


def test_an_idle_model_is_unloaded_and_loaded_again_on_demand() -> None:
    opened: list[weakref.ref[FakeBackend]] = []

    def open_backend() -> Backend:
        backend = FakeBackend()
        opened.append(weakref.ref(backend))
        return backend

    async def scenario() -> None:
        async with running(open_backend, EngineOptions(unload_after_seconds=0.05)) as engine:
            await becomes(engine, EngineState.IDLE)
            gc.collect()
            assert opened[0]() is None, "the unloaded backend is still referenced"
            with engine.admit():
                assert (await engine.recognise(1, REQUEST)).text
                assert engine.state is EngineState.READY
            assert len(opened) == 2

    asyncio.run(scenario())


def test_a_model_that_cannot_be_loaded_again_is_an_error_with_its_reason() -> None:
    backends = [FakeBackend()]

    def open_backend() -> Backend:
        if not backends:
            raise DoesNotFitError("memory is taken")
        return backends.pop()

    async def scenario() -> None:
        async with running(open_backend) as engine:
            engine.unload()
            with pytest.raises(ModelFailedError, match="memory is taken"):
                await engine.recognise(1, REQUEST)
            assert engine.state is EngineState.IDLE

    asyncio.run(scenario())
