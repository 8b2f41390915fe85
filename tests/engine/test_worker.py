"""Windows join and leave a running batch; one that breaks it fails alone."""

from __future__ import annotations

import queue
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest

from lithophone.backends.base import Backend, Recognition, RecognitionRequest
from lithophone.backends.fake import FakeBackend
from lithophone.engine.messages import (
    Cancel,
    Event,
    Failed,
    Load,
    Loaded,
    Recognise,
    Recognised,
    Stop,
    Unload,
    Unloaded,
)
from lithophone.engine.worker import Worker

WAIT_SECONDS = 10.0
BROKEN = 1000


class SteppingFake(FakeBackend):
    """Needs a step for every sample of a window, and only steps when told to."""

    def __init__(self, max_batch: int = 4) -> None:
        super().__init__(max_batch=max_batch)
        self.may_step: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.sizes: list[int] = []

    def start_batch(self) -> SteppingBatch:
        return SteppingBatch(self)

    def go(self, steps: int) -> None:
        for _ in range(steps):
            self.may_step.put(None)


class SteppingBatch:
    def __init__(self, backend: SteppingFake) -> None:
        self._backend = backend
        self._left: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._left)

    def admit(self, key: int, request: RecognitionRequest) -> None:
        self._left[key] = len(request.samples)

    def drop(self, key: int) -> None:
        self._left.pop(key, None)

    def step(self) -> list[tuple[int, Recognition]]:
        self._backend.may_step.get(timeout=WAIT_SECONDS)
        self._backend.sizes.append(len(self))
        if BROKEN in self._left.values():
            raise RuntimeError("a window of a thousand")
        self._left = {key: left - 1 for key, left in self._left.items()}
        done = [key for key, left in self._left.items() if left == 0]
        for key in done:
            del self._left[key]
        return [(key, spoken(f"window {key}")) for key in done]


def spoken(text: str) -> Recognition:
    return Recognition(text=text, tokens=(), prompt_tokens=0, audio_tokens=0, no_speech_probability=0.0)


def window(work_id: int, steps: int, job_id: int | None = None) -> Recognise:
    request = RecognitionRequest(samples=np.zeros(steps, np.float32))
    return Recognise(work_id, work_id if job_id is None else job_id, request)


class Listener:
    """A worker's events, in the order they came."""

    def __init__(self, worker: Worker, events: queue.SimpleQueue[Event]) -> None:
        self.post = worker.post
        self._events = events

    def next(self, *kinds: type[Event]) -> Event:
        while True:
            event = self._events.get(timeout=WAIT_SECONDS)
            if isinstance(event, kinds):
                return event

    def finished(self, count: int) -> list[int]:
        found = [self.next(Recognised) for _ in range(count)]
        return [event.work_id for event in found if isinstance(event, Recognised)]


@contextmanager
def working(open_backend: Callable[[], Backend]) -> Generator[Listener]:
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    worker = Worker(open_backend, events.put)
    worker.start()
    worker.post(Load())
    listener = Listener(worker, events)
    listener.next(Loaded)
    yield listener
    worker.post(Stop())
    assert worker.join(WAIT_SECONDS)


def test_a_short_window_joins_a_long_batch_and_is_done_before_it() -> None:
    backend = SteppingFake()
    with working(lambda: backend) as worker:
        worker.post(window(1, steps=30))
        backend.go(10)
        while len(backend.sizes) < 10:
            pass
        worker.post(window(2, steps=5))
        backend.go(20)
        assert worker.finished(2) == [2, 1]
    assert backend.sizes.count(2) == 5


def test_no_more_windows_than_the_backend_takes_run_at_a_time() -> None:
    backend = SteppingFake(max_batch=2)
    with working(lambda: backend) as worker:
        for work_id in range(1, 6):
            worker.post(window(work_id, steps=3))
        backend.go(100)
        assert sorted(worker.finished(5)) == [1, 2, 3, 4, 5]
    assert max(backend.sizes) == 2


def test_a_cancelled_job_leaves_the_batch_and_the_others_stay() -> None:
    backend = SteppingFake()
    with working(lambda: backend) as worker:
        worker.post(window(1, steps=4))
        worker.post(window(2, steps=8))
        backend.go(1)
        while not backend.sizes:
            pass
        worker.post(Cancel(1))
        backend.go(20)
        assert worker.finished(1) == [2]


def test_a_window_that_breaks_a_batch_fails_alone() -> None:
    backend = SteppingFake()
    with working(lambda: backend) as worker:
        worker.post(window(1, steps=20))
        worker.post(window(2, steps=BROKEN))
        worker.post(window(3, steps=2))
        backend.go(60)
        events = [worker.next(Recognised, Failed) for _ in range(3)]
    outcomes = {event.work_id: type(event) for event in events if isinstance(event, Recognised | Failed)}
    assert outcomes == {1: Recognised, 2: Failed, 3: Recognised}


def test_a_window_whose_leaving_breaks_the_batch_does_not_take_the_others_with_it() -> None:
    class Clinging(SteppingBatch):
        def drop(self, key: int) -> None:
            raise RuntimeError(f"the driver has no memory left to drop window {key}")

    class ClingingFake(SteppingFake):
        def start_batch(self) -> SteppingBatch:
            return Clinging(self)

    backend = ClingingFake()
    with working(lambda: backend) as worker:
        for work_id in (1, 2, 3):
            worker.post(window(work_id, steps=4))
        backend.go(1)
        while not backend.sizes:
            pass
        worker.post(Cancel(1))
        backend.go(20)
        assert sorted(worker.finished(2)) == [2, 3]


def test_windows_for_which_no_batch_can_be_started_fail_and_the_worker_stays() -> None:
    class Refusing(SteppingFake):
        started = 0

        def start_batch(self) -> SteppingBatch:
            self.started += 1
            if self.started <= 4:
                raise RuntimeError("the device was lost")
            return super().start_batch()

    backend = Refusing()
    with working(lambda: backend) as worker:
        for work_id in (1, 2, 3):
            worker.post(window(work_id, steps=1))
        failed = [worker.next(Failed) for _ in range(3)]
        while backend.started < 4:  # how many windows came together decides how often it was tried
            worker.post(window(4, steps=1))
            failed.append(worker.next(Failed))
        backend.go(1)
        worker.post(window(5, steps=1))
        assert worker.finished(1) == [5]
    assert {event.work_id for event in failed if isinstance(event, Failed)} >= {1, 2, 3}


def test_a_model_that_breaks_as_it_is_closed_is_loaded_again() -> None:
    class Stuck(SteppingFake):
        def close(self) -> None:
            raise RuntimeError("the device was lost")

    opened: list[Stuck] = []

    def open_backend() -> Backend:
        opened.append(Stuck())
        opened[-1].go(1)
        return opened[-1]

    with working(open_backend) as worker:
        worker.post(Unload())
        worker.post(window(1, steps=1))
        assert worker.finished(1) == [1]
    assert len(opened) == 2


def test_the_model_is_not_unloaded_under_a_window() -> None:
    opened: list[SteppingFake] = []

    def open_backend() -> Backend:
        opened.append(SteppingFake())
        return opened[-1]

    with working(open_backend) as worker:
        worker.post(window(1, steps=5))
        opened[0].go(1)
        while not opened[0].sizes:
            pass
        worker.post(Unload())
        worker.post(window(2, steps=1))
        opened[0].go(4)
        assert isinstance(worker.next(Recognised, Unloaded), Recognised)
        worker.next(Unloaded)
        worker.next(Loaded)
        assert opened[0].closed
        opened[1].go(1)
        assert worker.finished(1) == [2]


@pytest.mark.parametrize("requests", [1, 3])
def test_a_backend_without_steps_gets_what_waits_at_once(requests: int) -> None:
    calls: list[int] = []

    class Whole(FakeBackend):
        def recognise(
            self, requests: Sequence[RecognitionRequest], interrupted: Callable[[], bool]
        ) -> list[Recognition]:
            calls.append(len(requests))
            return super().recognise(requests, interrupted)

    with working(lambda: Whole(max_batch=4)) as worker:
        for work_id in range(requests):
            worker.post(window(work_id, steps=8))
        assert sorted(worker.finished(requests)) == list(range(requests))
    assert sum(calls) == requests
