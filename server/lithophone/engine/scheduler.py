"""Which windows run next.

Pure: no clock, no thread, no model. Jobs take turns, so that a long file does not hold up a short one; within a job
windows keep their order.
"""

from __future__ import annotations

from collections import OrderedDict, deque

from lithophone.engine.messages import Recognise


class Scheduler:
    """Waiting windows, first come first served among jobs and in order within each."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[int, deque[Recognise]] = OrderedDict()

    def __len__(self) -> int:
        return sum(len(queue) for queue in self._waiting.values())

    def add(self, work: Recognise) -> None:
        """Queue a window behind the earlier ones of its job."""
        self._waiting.setdefault(work.job_id, deque()).append(work)

    def cancel(self, job_id: int) -> None:
        """Drop every waiting window of a job."""
        self._waiting.pop(job_id, None)

    def clear(self) -> list[Recognise]:
        """Drop everything; returns what was dropped."""
        dropped = [work for queue in self._waiting.values() for work in queue]
        self._waiting.clear()
        return dropped

    def next_batch(self, max_batch: int) -> list[Recognise]:
        """Up to `max_batch` windows, one a job a turn; a job that was served goes to the back."""
        batch: list[Recognise] = []
        while self._waiting and len(batch) < max_batch:
            job_id, queue = self._waiting.popitem(last=False)
            batch.append(queue.popleft())
            if queue:
                self._waiting[job_id] = queue
        return batch
