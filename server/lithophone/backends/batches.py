"""A batch run to its end, for whoever has no other windows in the meantime.

Knows no model: only the contract in `lithophone.backends.base`.
"""

from __future__ import annotations

from collections.abc import Sequence

from lithophone.backends.base import Backend, Batch, Recognition, RecognitionRequest


def recognise(backend: Backend, requests: Sequence[RecognitionRequest]) -> list[Recognition]:
    """Transcribe windows together, in the order of the requests.

    Raises:
        NotFiniteError: the model's numbers for one of them are none.
    """
    return run_to_end(backend.start_batch(never), requests)


def run_to_end(batch: Batch, requests: Sequence[RecognitionRequest]) -> list[Recognition]:
    """The same in an empty batch that is there already."""
    for key, request in enumerate(requests):
        batch.admit(key, request)
    done: dict[int, Recognition] = {}
    while len(done) < len(requests):
        done |= {key: answer() for key, answer in batch.step()}
    return [done[key] for key in range(len(requests))]


def never() -> bool:
    """For batches that nobody interrupts."""
    return False
