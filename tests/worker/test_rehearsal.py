from __future__ import annotations

from collections.abc import Callable

import pytest

from lithophone.backends.base import Answer, Fault, RecognitionRequest
from lithophone.backends.fake import FakeBackend, PlainRuntime
from lithophone.worker.limit import WindowLimit
from lithophone.worker.rehearsal import LONGEST_WINDOW_SECONDS, rehearse


class Batch:
    """Hears one window a step, as long as no more than `room` were heard."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._waiting: list[RecognitionRequest] = []
        self.keys: set[int] = set()
        self.heard: list[float] = []

    def __len__(self) -> int:
        return len(self.keys)

    def admit(self, key: int, request: RecognitionRequest) -> None:
        self.keys.add(key)
        self._waiting.append(request)

    def drop(self, key: int) -> None:
        self.keys.discard(key)

    def step(self) -> list[tuple[int, Answer]]:
        self.heard.append(self._waiting.pop().seconds)
        if len(self.heard) > self._room:
            raise MemoryError
        return []


class Large(FakeBackend):
    def __init__(self, room: int) -> None:
        super().__init__(max_batch=16)
        self._room = room
        self.batches: list[Batch] = []

    def start_batch(self, interrupted: Callable[[], bool]) -> Batch:  # noqa: ARG002 - is never interrupted
        self.batches.append(Batch(self._room))
        return self.batches[-1]


class Runtime(PlainRuntime):
    def judge(self, error: Exception) -> Fault:
        return Fault.OUT_OF_MEMORY if isinstance(error, MemoryError) else Fault.WINDOW


def test_a_full_batch_of_the_longest_windows_is_heard_and_dropped() -> None:
    backend, limit = Large(room=16), WindowLimit()
    rehearse(backend, limit, Runtime())
    (batch,) = backend.batches
    assert batch.heard == [LONGEST_WINDOW_SECONDS] * 16
    assert len(batch) == 0
    assert limit.of(16) == 16


def test_where_memory_runs_out_there_will_be_fewer_windows_at_a_time() -> None:
    backend, limit, runtime = Large(room=5), WindowLimit(), Runtime()
    rehearse(backend, limit, runtime)
    assert [len(batch.heard) for batch in backend.batches] == [6, 6, 4]
    assert limit.of(16) == 4
    assert runtime.trims == 2


def test_what_does_not_even_hold_one_window_cannot_be_loaded() -> None:
    with pytest.raises(MemoryError):
        rehearse(Large(room=0), WindowLimit(), Runtime())
    with pytest.raises(MemoryError):
        rehearse(Large(room=5), WindowLimit(), PlainRuntime())
