"""The windows a host was given and has not answered yet.

Owns who waits for what: each window's answer, whether the model has begun it, and how many workers have died of it. Knows
neither the worker nor the host's state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from lithophone.backends.base import RecognitionRequest
from lithophone.errors import InternalError, ServiceError
from lithophone.worker.messages import Recognise, Recognised

MOST_DEATHS: Final = 2  # workers that may die of one window


@dataclass(slots=True, eq=False)
class Window:
    """A window that has no answer yet; `posted_seconds` is by the event loop's clock."""

    work_id: int
    job_id: int
    request: RecognitionRequest
    answer: asyncio.Future[Recognised]
    posted_seconds: float
    started: bool = False
    deaths: int = 0

    def message(self) -> Recognise:
        """What a worker is sent; one that a worker has died of runs alone, since it may be the reason."""
        return Recognise(self.work_id, self.job_id, self.request, alone=self.deaths > 0)


class Underway:
    """All of them, by their work's id."""

    def __init__(self) -> None:
        self._windows: dict[int, Window] = {}

    def __len__(self) -> int:
        return len(self._windows)

    def __iter__(self) -> Iterator[Window]:
        return iter(list(self._windows.values()))

    def add(self, work_id: int, job_id: int, request: RecognitionRequest) -> Window:
        """A new one, posted now."""
        loop = asyncio.get_running_loop()
        window = Window(work_id, job_id, request, loop.create_future(), loop.time())
        self._windows[work_id] = window
        return window

    def forget(self, work_id: int) -> None:
        """It has its answer, or nobody waits for it any more."""
        self._windows.pop(work_id, None)

    def get(self, work_id: int) -> Window | None:
        """The one with this id, unless nobody waits for it any more."""
        return self._windows.get(work_id)

    @property
    def at_work(self) -> int:
        """How many are in the model's batch."""
        return sum(window.started and not window.answer.done() for window in self)

    def begin(self, work_ids: Sequence[int]) -> list[float]:
        """Note that the model has begun these; returns for how many seconds each had waited."""
        now = asyncio.get_running_loop().time()
        begun = [window for work_id in work_ids if (window := self.get(work_id)) is not None]
        for window in begun:
            window.started = True
        return [now - window.posted_seconds for window in begun]

    def answer(self, recognised: Recognised) -> None:
        """Hand an answer to whoever waits for it."""
        window = self.get(recognised.work_id)
        if window is not None and not window.answer.done():
            window.answer.set_result(recognised)

    def fail(self, work_id: int, error: ServiceError) -> None:
        """Tell whoever waits for a window that there will be no answer."""
        window = self.get(work_id)
        if window is not None and not window.answer.done():
            window.answer.set_exception(error)

    def fail_all(self, error: ServiceError) -> None:
        """The same for everyone."""
        for window in self:
            self.fail(window.work_id, error)

    def outlive(self) -> None:
        """The worker has died: what it had begun is to be begun again, but for windows that were begun too often."""
        for window in self:
            if not window.started:
                continue
            window.started = False
            window.deaths += 1
            if window.deaths >= MOST_DEATHS:
                self.fail(window.work_id, InternalError("The model's worker ended twice on this audio."))
