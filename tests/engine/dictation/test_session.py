"""A session at work: with a host, a model that takes its time, and a detector of voice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import numpy as np
import pytest
from structlog.testing import capture_logs

from lithophone.backends.base import Recognition, RecognitionRequest
from lithophone.backends.fake import FakeBackend, LoudnessDetector, PlainRuntime
from lithophone.engine.dictation.events import Committed, Completed, Delta, DictationEvent, Failed
from lithophone.engine.dictation.options import Delay, DictationOptions
from lithophone.engine.dictation.pace import Pace
from lithophone.engine.dictation.session import MOST_WAITING_SECONDS, LiveSession
from lithophone.hosts.models import Models
from lithophone.hosts.supervised import SupervisedHost
from lithophone.hosts.thread import in_thread
from tests.engine.dictation.spoken import SPEC, SpokenBackend, options, silence, spoken

WAIT_SECONDS = 20.0


class Running:
    """A session, and what it has told."""

    def __init__(self, models: Models, wanted: DictationOptions) -> None:
        self.events: list[DictationEvent] = []
        self.session = LiveSession(
            models,
            LoudnessDetector(),
            wanted,
            tell=self.events.append,
            new_id=lambda: f"item_{len(self.events)}",
        )

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            while not condition():  # noqa: ASYNC110 - another thread has no event to wait for
                await asyncio.sleep(0.005)

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, Delta))

    def count(self, kind: type[DictationEvent]) -> int:
        return sum(isinstance(event, kind) for event in self.events)


@asynccontextmanager
async def running(backend: FakeBackend, wanted: DictationOptions | None = None) -> AsyncGenerator[Running]:
    host = SupervisedHost(SPEC.id, SPEC, in_thread(lambda: backend, PlainRuntime()))
    models = Models([host])
    models.start()
    one = Running(models, wanted or options())
    task = asyncio.create_task(one.session.run())
    try:
        yield one
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await models.stop()


def test_words_come_while_they_are_spoken_and_the_rest_behind_the_commit() -> None:
    async def scenario() -> None:
        async with running(SpokenBackend()) as one:
            for word in (1, 2, 3, 4, 5, 6):
                await one.session.append(spoken(word))
                await asyncio.sleep(0.02)
            await one.until(lambda: one.text.startswith("one two three"))
            assert one.count(Committed) == 0
            await one.session.commit()
            await one.session.finish()
            assert one.text == "one two three four five six"
            (end,) = (event for event in one.events if isinstance(event, Completed))
            assert (await one.session.with_language(end)).language == "en"

    asyncio.run(scenario())


def test_a_slow_model_makes_the_steps_longer_and_says_so() -> None:
    said: list[str] = []

    async def scenario() -> None:
        backend = SpokenBackend(delay_seconds=0.3)
        async with running(backend, options(delay=Delay.MINIMAL)) as one:
            while "live_step_grew" not in said:
                await one.session.append(spoken(1, 2))
                await asyncio.sleep(0.2)
                said[:] = [entry["event"] for entry in logs if entry["log_level"] == "warning"]
            assert len(backend.calls) < 2 * one.session.seconds  # at this delay there would be four a second

    with capture_logs() as logs:
        asyncio.run(asyncio.wait_for(scenario(), WAIT_SECONDS))
    assert said == ["live_step_grew"]


def test_a_client_far_ahead_of_the_model_waits() -> None:
    async def scenario() -> None:
        async with running(SpokenBackend(delay_seconds=60.0)) as one:

            async def speak_on() -> None:
                while True:
                    await one.session.append(spoken(1, 2, 3, pause_seconds=0.5))

            with pytest.raises(TimeoutError):
                await asyncio.wait_for(speak_on(), 1.0)
            assert (
                MOST_WAITING_SECONDS
                < one.session.seconds
                < MOST_WAITING_SECONDS + 3 * SPEC.max_window_seconds
            )

    asyncio.run(scenario())


def test_a_long_recording_all_at_once_is_heard_in_order() -> None:
    async def scenario() -> None:
        async with running(SpokenBackend()) as one:
            await one.session.append(np.concatenate([spoken(n % 10, pause_seconds=0.3) for n in range(200)]))
            await one.session.commit()
            await one.session.finish()
            words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
            assert one.text.split() == words * 20

    asyncio.run(scenario())


def test_a_model_that_breaks_fails_the_item_alone() -> None:
    class Breaks(SpokenBackend):
        broken = True

        def answer(self, request: RecognitionRequest, text: str) -> Recognition:
            if self.broken:
                raise RuntimeError("no")
            return super().answer(request, text)

    async def scenario() -> None:
        backend = Breaks()
        async with running(backend) as one:
            await one.session.append(spoken(1, 2))
            await one.session.commit()
            await one.session.finish()
            backend.broken = False
            await one.session.append(spoken(3))
            await one.session.commit()
            await one.session.finish()
            assert (one.count(Failed), one.count(Completed)) == (1, 1)
            assert one.text == "three"

    with capture_logs():
        asyncio.run(scenario())


def test_a_session_that_ends_leaves_nothing_at_the_model() -> None:
    async def scenario() -> None:
        backend = SpokenBackend(delay_seconds=30.0)
        host = SupervisedHost(SPEC.id, SPEC, in_thread(lambda: backend, PlainRuntime()))
        models = Models([host])
        models.start()
        one = Running(models, options())
        task = asyncio.create_task(one.session.run())
        await one.session.append(spoken(1, 2, 3))
        await one.until(lambda: len(backend.calls) == 1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await one.until(lambda: host.is_idle)
        await models.stop()

    asyncio.run(scenario())


def test_clearing_forgets_words_that_were_not_committed() -> None:
    async def scenario() -> None:
        async with running(SpokenBackend()) as one:
            await one.session.append(spoken(1, 2))
            await one.session.clear()
            await one.session.append(spoken(3, pause_seconds=0.1))
            await one.session.append(silence(0.1))
            await one.session.commit()
            await one.session.finish()
            (end,) = (event for event in one.events if isinstance(event, Completed))
            assert end.text == "three"

    asyncio.run(scenario())


def test_the_pace_follows_what_updates_take() -> None:
    pace = Pace()
    assert pace.step_seconds == 0.0
    for _ in range(20):
        pace.took(1.0)
    assert pace.step_seconds == pytest.approx(1.5, rel=0.01)
    for _ in range(20):
        pace.took(0.1)
    assert pace.step_seconds == pytest.approx(0.15, rel=0.05)
