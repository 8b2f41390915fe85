"""Which windows run next.

Pure: no clock, no thread, no model. Jobs take turns, so that a long file does not hold up a short one; within a job
windows keep their order. Urgent windows go first, but not for ever.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import Final

import msgspec

from lithophone.worker.messages import Recognise

URGENT_IN_A_ROW: Final = 4
"""Windows of live sessions that may go before one that waits; then that one has its turn."""


class _Queue(msgspec.Struct):
    """The waiting windows of a job. `place`: the turn it came in, and whether it was served in that turn."""

    place: tuple[int, bool]
    windows: deque[Recognise]

    @property
    def urgent(self) -> bool:
        """Whether its next window is."""
        return self.windows[0].request.urgent


class Scheduler:
    """Waiting windows: the job that has waited for the most turns comes first.

    A job that asks again right after it was served stands behind those that came meanwhile, though it may have asked
    before them: a short request waits for one turn of a long file, not for the windows that file has ahead.
    """

    def __init__(self) -> None:
        self._queues: dict[int, _Queue] = {}
        self._turn = 0
        self._urgent_in_a_row = 0
        self._served: set[int] = set()

    def __len__(self) -> int:
        return sum(len(queue.windows) for queue in self._queues.values())

    def add(self, work: Recognise) -> None:
        """Queue a window behind the earlier ones of its job."""
        queue = self._queues.get(work.job_id)
        if queue is None:
            queue = _Queue((self._turn, work.job_id in self._served), deque())
            self._queues[work.job_id] = queue
        queue.windows.append(work)

    def cancel(self, job_id: int) -> None:
        """Drop every waiting window of a job."""
        self._queues.pop(job_id, None)

    def clear(self) -> list[Recognise]:
        """Drop everything; returns what was dropped."""
        dropped = [work for queue in self._queues.values() for work in queue.windows]
        self._queues.clear()
        return dropped

    def next_batch(
        self, max_batch: int, *, reserved: int = 0, present: Collection[int] = ()
    ) -> list[Recognise]:
        """Up to `max_batch` windows, one a job a round, in the order the jobs have waited.

        Args:
            max_batch: Places.
            reserved: The last of them, for jobs that have none.
            present: Jobs that have some already.
        """
        batch: list[Recognise] = []
        holders = set(present)
        while joining := self._next_round(max_batch - len(batch), reserved, holders):
            batch += [self._take(job_id) for job_id in joining]
            holders.update(joining)
        if batch:
            self._turn += 1
            self._served = {work.job_id for work in batch}
            for job_id in self._served & self._queues.keys():
                self._queues[job_id].place = (self._turn, True)
        return batch

    def _next_round(self, room: int, reserved: int, holders: Collection[int]) -> list[int]:
        """The jobs that get a place each, in order; who is speaking now may have a reserved one beside another."""
        joining: list[int] = []
        for job_id in self._round():
            places = room - len(joining)
            keeps_off = job_id in holders and not self._queues[job_id].urgent
            if places > (reserved if keeps_off else 0):
                joining.append(job_id)
        return joining

    def _round(self) -> list[int]:
        """All jobs that wait, in the order they come next."""
        waiting = sorted(self._queues, key=lambda job_id: self._queues[job_id].place)
        urgent = [job_id for job_id in waiting if self._queues[job_id].urgent]
        others = [job_id for job_id in waiting if not self._queues[job_id].urgent]
        first = max(0, URGENT_IN_A_ROW - self._urgent_in_a_row) if others else len(urgent)
        return [*urgent[:first], *others[:1], *urgent[first:], *others[1:]]

    def _take(self, job_id: int) -> Recognise:
        queue = self._queues[job_id]
        self._urgent_in_a_row = self._urgent_in_a_row + 1 if queue.urgent else 0
        work = queue.windows.popleft()
        if not queue.windows:
            del self._queues[job_id]
        return work
