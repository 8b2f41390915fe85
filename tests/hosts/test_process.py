"""A worker in a process of its own: it may die in any way, and takes nothing with it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from structlog.testing import capture_logs

from lithophone.backends.base import RecognitionRequest
from lithophone.errors import InternalError, ModelFailedError
from lithophone.granite.family import DEMONSTRATION_ID, FAMILY
from lithophone.hosts import process
from lithophone.hosts.base import HostState
from lithophone.hosts.description import WorkerDescription
from lithophone.hosts.process import in_process
from lithophone.hosts.supervised import SupervisedHost
from tests.hosts.openers import RUNTIME

SPEC = FAMILY[DEMONSTRATION_ID]


def window(samples: int = 1600, temperature: float = 0.0) -> RecognitionRequest:
    return RecognitionRequest(samples=np.full(samples, 0.5, np.float32), temperature=temperature)


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await scenario()

    asyncio.run(bounded())


@asynccontextmanager
async def hosted(opener: str, *arguments: object) -> AsyncGenerator[SupervisedHost]:
    description = WorkerDescription(
        opener=f"tests.hosts.openers:{opener}", arguments=arguments, runtime=RUNTIME, log_level="warning"
    )
    host = SupervisedHost(SPEC.id, SPEC, in_process(description))
    try:
        yield host
    finally:
        await host.stop()


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "lithophone.child" in child.cmdline()]


async def heard_by(host: SupervisedHost, request: RecognitionRequest | None = None) -> int:
    """The process that heard a window."""
    request = request or window()
    recognition = await host.open_recogniser().recognise(request)
    pid, samples = map(int, recognition.text.split())
    assert samples == len(request.samples)
    return pid


def open_descriptors() -> int:
    return psutil.Process().num_fds()


def test_windows_are_heard_in_another_process_which_ends_with_the_host() -> None:
    async def scenario() -> None:
        async with hosted("open_fake") as host:
            await host.loaded()
            pid = await heard_by(host)
            assert [child.pid for child in children()] == [pid] != [os.getpid()]
            texts = await asyncio.gather(*(heard_by(host, window(n)) for n in (1, 480_000, 7, 16_000)))
            assert set(texts) == {pid}
        assert children() == []

    before = open_descriptors()
    run(scenario)
    assert open_descriptors() <= before


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_worker_that_dies_is_replaced_and_every_window_is_answered(sent: signal.Signals) -> None:
    async def scenario() -> None:
        async with hosted("open_fake", 0.3) as host:
            await host.loaded()
            first = await heard_by(host)
            asked = [asyncio.create_task(heard_by(host)) for _ in range(6)]
            await asyncio.sleep(0.1)
            os.kill(first, sent)
            second = set(await asyncio.gather(*asked))
            assert len(second) == 1
            assert first not in second
            assert host.state is HostState.READY

    run(scenario)


def test_windows_that_come_while_a_worker_ends_are_answered_by_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On uvloop, too, which Ray's replicas run on: its transports raise once they are closed, where asyncio's take no notice."""
    written, refused = asyncio.StreamWriter.write, list[int]()

    def write(writer: asyncio.StreamWriter, data: Any) -> None:
        if writer.is_closing():
            refused.append(1)
            raise RuntimeError("the handler is closed")
        written(writer, data)

    async def scenario() -> None:
        async with hosted("open_fake") as host:
            await host.loaded()
            first = await heard_by(host)
            monkeypatch.setattr(asyncio.StreamWriter, "write", write)
            monkeypatch.setattr(
                subprocess.Popen, "wait", lambda process: (time.sleep(0.5), process.poll())[1]
            )
            os.kill(first, signal.SIGKILL)
            asked: list[asyncio.Task[int]] = []
            for _ in range(40):
                asked.append(asyncio.create_task(heard_by(host)))
                await asyncio.sleep(0.01)
            assert first not in await asyncio.gather(*asked)
        monkeypatch.undo()
        assert not refused

    run(scenario)


def test_a_window_that_kills_workers_fails_alone() -> None:
    async def scenario() -> None:
        async with hosted("open_deadly") as host:
            await host.loaded()
            deadly = asyncio.create_task(host.open_recogniser().recognise(window(temperature=0.9)))
            others = [asyncio.create_task(host.open_recogniser().recognise(window())) for _ in range(3)]
            with pytest.raises(InternalError, match="twice"):
                await deadly
            assert all(one.text for one in await asyncio.gather(*others))

    run(scenario)


def test_a_worker_that_is_stopped_is_killed_and_replaced_at_once() -> None:
    async def scenario() -> None:
        async with hosted("open_fake") as host:
            await host.loaded()
            first = await heard_by(host)
            os.kill(first, signal.SIGSTOP)
            async with asyncio.timeout(process.SILENCE_SECONDS / 2):
                assert await heard_by(host) != first
            assert [child.pid for child in children()] != [first]

    with capture_logs() as logs:
        run(scenario)
    assert "its process was stopped" in [entry.get("reason") for entry in logs]


def test_a_worker_that_is_stopped_and_let_go_again_and_again_stays() -> None:
    async def scenario() -> None:
        async with hosted("open_fake") as host:
            await host.loaded()
            first = await heard_by(host)
            for _ in range(30):
                os.kill(first, signal.SIGCONT)
                await asyncio.sleep(0.01)
                os.kill(first, signal.SIGSTOP)
                await asyncio.sleep(0.09)
            os.kill(first, signal.SIGCONT)
            assert await heard_by(host) == first

    run(scenario)


def test_a_worker_stopped_while_it_loads_is_not_waited_for() -> None:
    async def scenario() -> None:
        async with hosted("stop_while_loading") as host:
            with pytest.raises(ModelFailedError, match="stopped"):
                await host.loaded()

    run(scenario)


def test_a_worker_that_answers_no_more_is_killed_and_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "SILENCE_SECONDS", 1.0)

    async def scenario() -> None:
        async with hosted("open_mute") as host:
            await host.loaded()
            first = await heard_by(host)
            mute = asyncio.create_task(host.open_recogniser().recognise(window(temperature=0.9)))
            await asyncio.sleep(0.1)
            assert await heard_by(host) != first
            with pytest.raises(InternalError, match="twice"):
                await mute

    run(scenario)


def test_a_model_that_cannot_be_loaded_is_said_in_its_own_words() -> None:
    async def scenario() -> None:
        async with hosted("refuse") as host:
            with pytest.raises(ModelFailedError, match="needs 17 GB"):
                await host.loaded()
            assert host.state is HostState.FAILED

    run(scenario)


def test_a_worker_killed_while_it_loads_is_a_model_that_cannot_be_loaded() -> None:
    async def scenario() -> None:
        async with hosted("die_while_loading") as host:
            with pytest.raises(ModelFailedError, match="SIGKILL"):
                await host.loaded()

    run(scenario)


def test_a_host_stops_at_once_while_its_model_loads() -> None:
    async def scenario() -> None:
        async with hosted("load_slowly", 60.0) as host:
            host.start()
            await asyncio.sleep(0.5)
            began = time.monotonic()
            await host.stop()
            assert time.monotonic() - began < 1
        assert children() == []

    run(scenario)


def test_unloading_ends_the_process_and_the_next_window_starts_another() -> None:
    async def scenario() -> None:
        async with hosted("open_fake") as host:
            await host.loaded()
            first = await heard_by(host)
            await host.unload()
            assert children() == []
            assert host.state is HostState.COLD
            assert await heard_by(host) != first

    run(scenario)


def test_a_server_that_is_killed_leaves_no_worker() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.hosts.orphan"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    pid, window_done = done.stdout.splitlines()[-1].split()
    assert window_done == "False"
    end = time.monotonic() + 3
    while psutil.pid_exists(int(pid)) and time.monotonic() < end:
        time.sleep(0.01)
    assert not psutil.pid_exists(int(pid))
