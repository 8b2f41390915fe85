"""Windows join and leave a running batch; one that breaks it fails alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import pytest

from lithophone.backends.base import Answer, Backend, Fault, LiveWindow, NotFiniteError, RecognitionRequest
from lithophone.backends.fake import FakeBackend, PlainRuntime
from lithophone.errors import DoesNotFitError
from lithophone.worker.messages import (
    Cancel,
    Cause,
    Failed,
    LoadFailed,
    Lost,
    Recognise,
    Recognised,
    Started,
    Stop,
)
from tests.worker.conftest import (
    SteppingBatch,
    SteppingFake,
    after_first_step,
    spoken,
    window,
    working,
)

BROKEN = 1000


class NoMemoryError(Exception):
    """What a device without memory left raises."""


class DeviceGoneError(Exception):
    """What a dead device raises."""


RUNTIME = {NoMemoryError: Fault.OUT_OF_MEMORY, DeviceGoneError: Fault.DEVICE_LOST}


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


def test_a_window_is_said_to_have_started_when_it_joins() -> None:
    backend = SteppingFake(max_batch=1)
    with working(lambda: backend) as worker:
        worker.post(window(1, steps=1))
        worker.post(window(2, steps=1))
        assert worker.next(Started) == Started((1,))
        backend.go(2)
        assert worker.next(Started) == Started((2,))


def test_a_cancelled_job_leaves_the_batch_and_the_others_stay() -> None:
    backend = SteppingFake()
    with working(lambda: backend) as worker:
        worker.post(window(1, steps=4))
        worker.post(window(2, steps=8))
        after_first_step(backend)
        worker.post(Cancel(1))
        backend.go(20)
        assert worker.finished(1) == [2]


def growing(work_id: int, key: str, job_id: int = 1) -> Recognise:
    return Recognise(
        work_id, job_id, RecognitionRequest(samples=np.zeros(1, np.float32), live=LiveWindow(key=key))
    )


def test_what_is_kept_of_a_growing_window_is_given_back_when_its_job_has_another_or_ends() -> None:
    backend = SteppingFake()
    with working(lambda: backend) as worker:
        backend.go(5)
        for work_id, key in enumerate(("first", "first", "second")):
            worker.post(growing(work_id, key))
            worker.finished(1)
        worker.post(growing(3, "of another", job_id=2))
        worker.finished(1)
        assert backend.forgotten == ["first"]
        worker.post(Cancel(1))
        worker.post(Cancel(7))
        worker.post(window(4, steps=1))
        worker.finished(1)
        assert backend.forgotten == ["first", "second"]


def test_a_growing_window_that_is_cut_off_while_it_is_heard_is_given_back() -> None:
    backend = SteppingFake()
    with working(lambda: backend) as worker:
        worker.post(growing(1, "first"))
        worker.next(Started)
        worker.post(Cancel(1))
        backend.go(2)
        worker.post(window(2, steps=1))
        worker.next(Recognised)
        assert backend.forgotten == ["first"]


def test_a_window_that_breaks_a_batch_fails_alone() -> None:
    backend = SteppingFake(breaks={BROKEN: RuntimeError("a window of a thousand")})
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
        def start_batch(self, interrupted: Callable[[], bool]) -> SteppingBatch:
            del interrupted
            return Clinging(self)

    backend = ClingingFake()
    with working(lambda: backend) as worker:
        for work_id in (1, 2, 3):
            worker.post(window(work_id, steps=4))
        after_first_step(backend)
        worker.post(Cancel(1))
        backend.go(20)
        assert sorted(worker.finished(2)) == [2, 3]


def test_windows_for_which_no_batch_can_be_started_fail_and_the_worker_stays() -> None:
    class Refusing(SteppingFake):
        started = 0

        def start_batch(self, interrupted: Callable[[], bool]) -> SteppingBatch:
            self.started += 1
            if self.started <= 4:
                raise RuntimeError("no batch today")
            return super().start_batch(interrupted)

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


def test_where_memory_runs_out_half_as_many_windows_run_at_a_time() -> None:
    """The three of them do not fit together; no window fails, and later ones come one by one."""

    class Small(SteppingBatch):
        def step(self) -> list[tuple[int, Answer]]:
            if len(self) > 1:
                raise NoMemoryError
            return super().step()

    class SmallFake(SteppingFake):
        def start_batch(self, interrupted: Callable[[], bool]) -> SteppingBatch:
            del interrupted
            return Small(self)

    backend, runtime = SmallFake(), PlainRuntime(RUNTIME)
    with working(lambda: backend, runtime) as worker:
        for work_id in (1, 2, 3):
            worker.post(window(work_id, steps=2))
        backend.go(20)
        assert sorted(worker.finished(3)) == [1, 2, 3]
        faults = runtime.trims
        for work_id in (4, 5, 6):
            worker.post(window(work_id, steps=2))
        assert sorted(worker.finished(3)) == [4, 5, 6]
    assert 1 <= faults <= 2, "each fault frees what is cached"
    assert runtime.trims <= 2, "what was learned is not learned again"


def test_a_window_that_does_not_fit_even_alone_says_so() -> None:
    backend = SteppingFake(breaks={BROKEN: NoMemoryError()})
    with working(lambda: backend, PlainRuntime(RUNTIME)) as worker:
        worker.post(window(1, steps=BROKEN))
        backend.go(1)
        failed = worker.next(Failed)
        assert isinstance(failed, Failed)
        assert failed.cause is Cause.OUT_OF_MEMORY
        backend.go(2)
        worker.post(window(2, steps=2))
        assert worker.finished(1) == [2]


def test_a_lost_device_ends_the_worker_and_fails_no_window() -> None:
    backend = SteppingFake(breaks={BROKEN: DeviceGoneError("an illegal memory access was encountered")})
    with working(lambda: backend, PlainRuntime(RUNTIME)) as worker:
        worker.post(window(1, steps=BROKEN))
        worker.post(window(2, steps=5))
        backend.go(3)
        lost = worker.next(Lost, Failed, Recognised)
        assert isinstance(lost, Lost)
        assert "illegal memory access" in lost.message
        assert worker.ended()
    assert not backend.closed, "a dead device is not spoken to again"


def test_a_model_that_breaks_as_it_is_closed_still_ends() -> None:
    class Stuck(SteppingFake):
        def close(self) -> None:
            raise RuntimeError("it will not go")

    with working(Stuck) as worker:
        worker.post(Stop())
        assert worker.ended()


@pytest.mark.parametrize(
    ("error", "said"), [(DoesNotFitError("needs 17 GB"), "needs 17 GB"), (OSError("disk"), "OSError: disk")]
)
def test_a_model_that_cannot_be_loaded_ends_the_worker_with_the_reason(error: Exception, said: str) -> None:
    def refuse() -> Backend:
        raise error

    with working(refuse, loads=False) as worker:
        assert worker.next(LoadFailed) == LoadFailed(said)
        assert worker.ended()


class Answering(SteppingBatch):
    """Gives `answer` for every window."""

    def __init__(self, backend: SteppingFake, answer: Answer) -> None:
        super().__init__(backend)
        self._answer = answer

    def step(self) -> list[tuple[int, Answer]]:
        return [(key, self._answer) for key, _ in super().step()]


class AnsweringFake(SteppingFake):
    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self._answer = answer

    def start_batch(self, interrupted: Callable[[], bool]) -> SteppingBatch:
        del interrupted
        return Answering(self, self._answer)


def test_answers_are_made_beside_the_models_thread_which_goes_on() -> None:
    may_answer = threading.Event()
    threads: list[int] = []

    def answer() -> Any:
        threads.append(threading.get_ident())
        assert may_answer.wait(10)
        return spoken("late")

    backend = AnsweringFake(answer)
    with working(lambda: backend) as worker:
        worker.post(window(1, steps=1))
        worker.post(window(2, steps=50))
        backend.go(30)
        while len(backend.sizes) < 30:  # the model steps on while the answer waits
            time.sleep(0.001)
        may_answer.set()
        assert worker.finished(1) == [1]
        backend.go(50)
        assert worker.finished(1) == [2]
    assert len(set(threads)) == 1


@pytest.mark.parametrize(
    ("error", "cause"), [(NotFiniteError("in float16"), Cause.NOT_FINITE), (ValueError("bug"), Cause.MODEL)]
)
def test_an_answer_that_cannot_be_made_fails_its_window_alone(error: Exception, cause: Cause) -> None:
    def answer() -> Any:
        raise error

    backend = AnsweringFake(answer)
    with working(lambda: backend) as worker:
        worker.post(window(1, steps=1))
        backend.go(1)
        failed = worker.next(Failed)
        assert isinstance(failed, Failed)
        assert failed.cause is cause
        assert ("float16" in failed.message) == (cause is Cause.NOT_FINITE)


def test_what_was_decoded_when_the_worker_ends_is_still_answered() -> None:
    def answer() -> Any:
        time.sleep(0.2)
        return spoken("late")

    backend = AnsweringFake(answer)
    with working(lambda: backend) as worker:
        worker.post(window(1, steps=1))
        after_first_step(backend)
        worker.post(Stop())
        assert worker.finished(1) == [1]


def test_everything_the_worker_does_is_inside_of_the_runtimes_mode() -> None:
    inside = threading.local()
    seen: list[bool] = []

    class Mode(PlainRuntime):
        def thread(self) -> AbstractContextManager[None]:
            @contextmanager
            def mode() -> Any:
                inside.on = True
                yield
                inside.on = False

            return mode()

    def note() -> None:
        seen.append(getattr(inside, "on", False))

    class Watching(SteppingBatch):
        def admit(self, key: int, request: Any) -> None:
            note()
            super().admit(key, request)

        def drop(self, key: int) -> None:
            note()
            super().drop(key)

        def step(self) -> list[tuple[int, Answer]]:
            note()
            return super().step()

    class WatchingFake(SteppingFake):
        def start_batch(self, interrupted: Callable[[], bool]) -> SteppingBatch:
            del interrupted
            note()
            return Watching(self)

        def warm_up(self) -> None:
            note()

        def close(self) -> None:
            note()

    backend = WatchingFake()
    with working(lambda: backend, Mode()) as worker:
        worker.post(window(1, steps=4))
        worker.post(window(2, steps=4))
        after_first_step(backend)
        worker.post(Cancel(1))
        backend.go(9)
        assert worker.finished(1) == [2]
    assert len(seen) >= 8
    assert all(seen)


@pytest.mark.parametrize("requests", [1, 3])
def test_a_backend_without_steps_gets_what_waits_at_once(requests: int) -> None:
    backend = FakeBackend(max_batch=4)
    with working(lambda: backend) as worker:
        for work_id in range(requests):
            worker.post(window(work_id, steps=8))
        assert sorted(worker.finished(requests)) == list(range(requests))
    assert sum(len(call) for call in backend.calls) == requests
