"""Batches for every kind of backend, and a batch run to its end.

Knows no model: only the contract in `lithophone.backends.base`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lithophone.backends.base import (
    INTERRUPTED,
    Backend,
    Batch,
    Recognition,
    RecognitionRequest,
    SteppingBackend,
)


def start_batch(backend: Backend, interrupted: Callable[[], bool]) -> Batch:
    """A batch of a backend: its own if it decodes step by step, else one whose single step is the whole work.

    Args:
        backend: A loaded model.
        interrupted: Asked inside a step that takes long: shall it be given up?
    """
    if isinstance(backend, SteppingBackend):
        return backend.start_batch()
    return WholeBatch(backend, interrupted)


class WholeBatch:
    """Windows of a backend without steps: those that wait are transcribed by the next step, to their end."""

    def __init__(self, backend: Backend, interrupted: Callable[[], bool]) -> None:
        self._backend = backend
        self._interrupted = interrupted
        self._waiting: dict[int, RecognitionRequest] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def admit(self, key: int, request: RecognitionRequest) -> None:
        """See `Batch`."""
        self._waiting[key] = request

    def drop(self, key: int) -> None:
        """See `Batch`; a window that is being transcribed is dropped from the results."""
        self._waiting.pop(key, None)

    def step(self) -> list[tuple[int, Recognition]]:
        """See `Batch`."""
        keys, requests = list(self._waiting), list(self._waiting.values())
        found = dict(zip(keys, self._backend.recognise(requests, self._interrupted), strict=True))
        done = [(key, found[key]) for key in keys if key in self._waiting]
        self._waiting.clear()
        return done


def run_to_end(
    batch: Batch, requests: Sequence[RecognitionRequest], interrupted: Callable[[], bool]
) -> list[Recognition]:
    """Transcribe windows in an empty batch, in the order of the requests; `INTERRUPTED` for those that were cut off."""
    for key, request in enumerate(requests):
        batch.admit(key, request)
    done: dict[int, Recognition] = {}
    while len(batch) > 0 and not interrupted():
        done |= dict(batch.step())
    return [done.get(key, INTERRUPTED) for key in range(len(requests))]
