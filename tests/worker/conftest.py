"""A worker in a thread, its events in a queue, and a backend that steps only when told to."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial

import numpy as np

from lithophone.backends.base import Answer, Backend, Recognition, RecognitionRequest, Runtime
from lithophone.backends.fake import FakeBackend, PlainRuntime
from lithophone.worker.loop import Worker
from lithophone.worker.messages import Command, Event, Loaded, Recognise, Recognised, Stop

WAIT_SECONDS = 10.0


class SteppingFake(FakeBackend):
    """Needs a step for every sample of a window, and only steps when told to. Breaks on windows of some lengths."""

    def __init__(self, max_batch: int = 4, breaks: dict[int, Exception] | None = None) -> None:
        super().__init__(max_batch=max_batch)
        self.may_step: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.sizes: list[int] = []
        self.breaks = breaks or {}

    def start_batch(self, interrupted: Callable[[], bool]) -> SteppingBatch:
        del interrupted
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

    def step(self) -> list[tuple[int, Answer]]:
        self._backend.may_step.get(timeout=WAIT_SECONDS)
        self._backend.sizes.append(len(self))
        for left in self._left.values():
            if left in self._backend.breaks:
                raise self._backend.breaks[left]
        self._left = {key: left - 1 for key, left in self._left.items()}
        done = [key for key, left in self._left.items() if left == 0]
        for key in done:
            del self._left[key]
        return [(key, partial(spoken, f"window {key}")) for key in done]


def spoken(text: str) -> Recognition:
    return Recognition(text=text, tokens=(), prompt_tokens=0, audio_tokens=0, no_speech_probability=0.0)


def window(work_id: int, steps: int, job_id: int | None = None) -> Recognise:
    request = RecognitionRequest(samples=np.zeros(steps, np.float32))
    return Recognise(work_id, work_id if job_id is None else job_id, request)


class Listener:
    """A worker's events, in the order they came."""

    def __init__(self, worker: Worker, thread: threading.Thread, events: queue.SimpleQueue[Event]) -> None:
        self._worker = worker
        self._thread = thread
        self._events = events

    def post(self, command: Command) -> None:
        self._worker.post(command)

    def next(self, *kinds: type[Event]) -> Event:
        while True:
            event = self._events.get(timeout=WAIT_SECONDS)
            if isinstance(event, kinds):
                return event

    def finished(self, count: int) -> list[int]:
        found = [self.next(Recognised) for _ in range(count)]
        return [event.work_id for event in found if isinstance(event, Recognised)]

    def ended(self) -> bool:
        self._thread.join(WAIT_SECONDS)
        return not self._thread.is_alive()


@contextmanager
def working(
    open_backend: Callable[[], Backend], runtime: Runtime | None = None, *, loads: bool = True
) -> Generator[Listener]:
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    worker = Worker(open_backend, events.put, runtime or PlainRuntime())
    thread = threading.Thread(target=worker.run)
    thread.start()
    listener = Listener(worker, thread, events)
    if loads:
        listener.next(Loaded)
    yield listener
    worker.post(Stop())
    assert listener.ended()


def after_first_step(backend: SteppingFake) -> None:
    """Let the batch make one step, and wait for it."""
    backend.go(1)
    while not backend.sizes:
        pass
