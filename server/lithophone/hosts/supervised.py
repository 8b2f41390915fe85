"""A host that looks after a worker, whatever carries it.

Owns the host's states, and what happens when a worker ends by itself: another one is started, and gets every window that was
under way once more.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from functools import partial
from typing import Final

import structlog

from lithophone.backends.base import BackendInfo, Recognition, RecognitionRequest
from lithophone.backends.heap import return_freed_pages
from lithophone.errors import (
    InternalError,
    LoadingError,
    ModelFailedError,
    NotFiniteAnswerError,
    OutOfMemoryError,
    ServiceError,
    UnavailableError,
)
from lithophone.granite.family import ModelSpec
from lithophone.hosts.base import Carrier, HostState, Launch, Recogniser
from lithophone.hosts.courses import tell_course
from lithophone.hosts.recogniser import JobRecogniser
from lithophone.hosts.tally import Tally
from lithophone.hosts.underway import Underway
from lithophone.hub.progress import Fetched
from lithophone.worker.messages import (
    Cancel,
    Cause,
    Event,
    Failed,
    Fetching,
    Grown,
    Loaded,
    LoadFailed,
    Lost,
    Recognise,
    Recognised,
    Started,
)

log = structlog.get_logger(__name__)

RESTART_DELAYS_SECONDS: Final = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Before the next worker, by how many have ended since a window was last recognised."""

BATCHES_UNDERWAY: Final = 2  # one in the model, and one that waits in case the first is done all at once


def _ignore(info: BackendInfo, memory_bytes: int) -> None:
    """For hosts whose memory nobody keeps account of."""


class SupervisedHost:
    """See `ModelHost`.

    Args:
        model_id: The name the model is served under.
        spec: What it is.
        launch: Starts a worker.
        unload_after_seconds: Idle time after which the model's memory is given back; 0 keeps it.
        memory_bytes: What it is expected to take, if that is known.
        on_measured: Told what was loaded and what it takes, whenever that became more.
    """

    def __init__(
        self,
        model_id: str,
        spec: ModelSpec,
        launch: Launch,
        *,
        unload_after_seconds: float = 0.0,
        memory_bytes: int = 0,
        on_measured: Callable[[BackendInfo, int], None] = _ignore,
    ) -> None:
        self.model_id = model_id
        self.spec = spec
        self.state = HostState.COLD
        self.failure: str | None = None
        self.info: BackendInfo | None = None
        self.fetched: Fetched | None = None
        self.memory_bytes = memory_bytes
        self.lacking_bytes = 0
        self.last_used = 0.0
        self.room_bytes: int | None = None
        self.tally = Tally()
        self._launch = launch
        self._on_measured = on_measured
        self._unload_after_seconds = unload_after_seconds
        self._ids = itertools.count(1)
        self._underway = Underway()
        self._carrier: Carrier | None = None
        self._launches = 0
        self._ending: asyncio.Task[bool] | None = None
        self._waiters: list[asyncio.Future[None]] = []
        self._deaths = 0
        self._users = 0
        self._idle_timer: asyncio.TimerHandle | None = None
        self._restart_timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """See `ModelHost`."""
        if self.state in {HostState.COLD, HostState.FAILED}:
            self._enter(HostState.LOADING)
            self._begin()

    async def loaded(self) -> None:
        """See `ModelHost`."""
        if self.state is HostState.READY:
            return
        self._require_running()
        self.start()
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        finally:
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    @contextmanager
    def in_use(self) -> Generator[None]:
        """See `ModelHost`."""
        self._users += 1
        self._cancel_idle_timer()
        try:
            yield
        finally:
            self._users -= 1
            self.last_used = asyncio.get_running_loop().time()
            self._arm_idle_timer()

    @property
    def is_idle(self) -> bool:
        """See `ModelHost`."""
        return not self._users and not self._underway

    @property
    def wants_more(self) -> bool:
        """See `Recogniser`."""
        return self.info is not None and len(self._underway) < BATCHES_UNDERWAY * self.info.max_batch

    def open_recogniser(self) -> Recogniser:
        """See `ModelHost`."""
        return JobRecogniser(self, next(self._ids))

    async def unload(self) -> None:
        """See `ModelHost`."""
        if self.state in {HostState.READY, HostState.LOADING} and self.is_idle:
            self._enter(HostState.COLD)
            self._settle(LoadingError(f"{self.model_id} was unloaded before it was ready."))
            await self._end_worker()
            await asyncio.to_thread(return_freed_pages)  # of the server itself: what the last requests needed

    async def stop(self) -> None:
        """See `ModelHost`."""
        self._cancel_idle_timer()
        if self._restart_timer is not None:
            self._restart_timer.cancel()
        self._enter(HostState.STOPPED)
        stopped = UnavailableError("The server stopped before this audio was transcribed.")
        self._underway.fail_all(stopped)
        self._settle(stopped)
        await self._end_worker()

    async def recognise(self, job_id: int, request: RecognitionRequest) -> Recognition:
        """One window of a job; see `Recogniser`."""
        posted_at = time.time()
        recognised = await self.hear(job_id, request)
        tell_course(self.model_id, request, posted_at, recognised)
        return recognised.recognition

    async def hear(self, job_id: int, request: RecognitionRequest) -> Recognised:
        """One window of a job, and how long it took from when it joined the batch; raises as `Recogniser` does."""
        self._require_running()
        self.start()
        window = self._underway.add(next(self._ids), job_id, request)
        self._post(window.message())
        try:
            return await window.answer
        finally:
            self._underway.forget(window.work_id)

    def cancel(self, job_id: int) -> None:
        """Forget a job; see `Recogniser`."""
        self._post(Cancel(job_id))

    def _require_running(self) -> None:
        if self.state is HostState.STOPPED:
            raise UnavailableError("The server is stopping.")

    def _post(self, message: Recognise | Cancel) -> None:
        if self._carrier is not None:
            self._carrier.post(message)

    def _begin(self) -> None:
        """Start a worker as soon as the one before has given its memory back."""
        self._run(self._begin_after(self._ending))

    async def _begin_after(self, ending: asyncio.Task[bool] | None) -> None:
        if ending is not None:
            await asyncio.wait((ending,))
        if self.state not in {HostState.LOADING, HostState.RESTARTING} or self._carrier is not None:
            return
        self._launches += 1
        launch = self._launches
        log.info("model_loading", model=self.model_id)
        self._carrier = self._launch(
            partial(self._on_event, launch), partial(self._on_end, launch), self.room_bytes
        )
        for window in self._underway:
            self._post(window.message())

    def _run(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _end_worker(self) -> None:
        ending = self._let_go()
        if ending is None:
            return
        if await ending:
            log.info("model_unloaded", model=self.model_id)
        else:
            log.warning("worker_still_busy", model=self.model_id)

    def _let_go(self) -> asyncio.Task[bool] | None:
        """Begin the end of the worker, if there is one; what it still says is not heard, and the next one waits for it."""
        carrier, self._carrier = self._carrier, None
        self._launches += 1
        if carrier is None:
            return None
        self._ending = asyncio.get_running_loop().create_task(carrier.stop())
        return self._ending

    def _on_event(self, launch: int, event: Event) -> None:
        if launch != self._launches:
            return
        match event:
            case Recognised():
                self._deaths = 0
                self._count(event)
                self._underway.answer(event)
            case Failed(work_id, cause, message):
                self.tally.failures[cause] += 1
                self._underway.fail(work_id, _failure(cause, message))
            case Started(work_ids):
                for waited_seconds in self._underway.begin(work_ids):
                    self.tally.waited.add(waited_seconds)
                self.tally.batches.add(self._underway.at_work)
            case _:
                self._on_news_of_model(event)

    def _count(self, recognised: Recognised) -> None:
        window = self._underway.get(recognised.work_id)
        if window is not None:
            self.tally.add(window.request, recognised)

    def _on_news_of_model(self, event: Fetching | Loaded | Grown | LoadFailed | Lost) -> None:
        match event:
            case Fetching(fetched):
                self.fetched = fetched if fetched.done_bytes < fetched.total_bytes else None
            case Loaded():
                self._on_loaded(event)
            case Grown(memory_bytes):
                self._measured(memory_bytes)
            case LoadFailed(message, lacking_bytes):
                self.lacking_bytes = lacking_bytes
                self._on_load_failed(message)
            case Lost(message):
                log.error("device_lost", model=self.model_id, reason=message)
                self.failure = message

    def _on_loaded(self, event: Loaded) -> None:
        self.tally.loads += 1
        self.tally.load_seconds += event.load_seconds + event.warm_up_seconds
        self.info = event.info
        self.failure = None
        self.fetched = None
        self.lacking_bytes = 0
        self._measured(event.memory_bytes)
        self._enter(HostState.READY)
        self._settle(None)
        log.info(
            "model_ready",
            model=self.model_id,
            device=event.info.device,
            dtype=event.info.dtype,
            load_seconds=round(event.load_seconds, 2),
            warm_up_seconds=round(event.warm_up_seconds, 2),
            memory_bytes=event.memory_bytes,
            revision=event.info.revision,
        )
        self._arm_idle_timer()

    def _measured(self, memory_bytes: int) -> None:
        """What this worker takes: another dtype or a smaller batch may make it less than the last one took."""
        self.memory_bytes = memory_bytes
        if memory_bytes and self.info is not None:
            self._on_measured(self.info, memory_bytes)

    def _on_load_failed(self, message: str) -> None:
        """A model that has answered before may do so again; one that never did needs somebody's help."""
        log.error("model_failed", model=self.model_id, reason=message)
        self.tally.failed_loads += 1
        self.failure = message
        self.fetched = None
        if self.state is HostState.LOADING:
            self._enter(HostState.FAILED)
            self._let_go()
        failed = ModelFailedError(f"The model could not be loaded: {message}")
        self._underway.fail_all(failed)
        self._settle(failed)

    def _on_end(self, launch: int, reason: str) -> None:
        if launch != self._launches:
            return
        self._carrier = None
        if self.state is HostState.LOADING:
            self._on_load_failed(f"its worker ended while it was loading ({reason})")
        elif self.state in {HostState.READY, HostState.RESTARTING}:
            self._restart(reason)

    def _restart(self, reason: str) -> None:
        delay = RESTART_DELAYS_SECONDS[min(self._deaths, len(RESTART_DELAYS_SECONDS) - 1)]
        log.error(
            "worker_ended",
            model=self.model_id,
            reason=reason,
            windows=len(self._underway),
            delay_seconds=delay,
        )
        self._deaths += 1
        self.tally.restarts += 1
        self._enter(HostState.RESTARTING)
        self.failure = self.failure or reason
        self._underway.outlive()
        self._restart_timer = asyncio.get_running_loop().call_later(delay, self._begin)

    def _enter(self, state: HostState) -> None:
        if self.state is not HostState.STOPPED:
            self.state = state

    def _settle(self, failure: ServiceError | None) -> None:
        """Tell those who wait for the model."""
        for waiter in self._waiters:
            if waiter.done():
                continue
            if failure is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(failure)
        self._waiters.clear()

    def _arm_idle_timer(self) -> None:
        if self._unload_after_seconds > 0 and not self._users and self.state is HostState.READY:
            self._cancel_idle_timer()
            loop = asyncio.get_running_loop()
            self._idle_timer = loop.call_later(self._unload_after_seconds, lambda: self._run(self.unload()))

    def _cancel_idle_timer(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None


def _failure(cause: Cause, message: str) -> ServiceError:
    match cause:
        case Cause.MODEL:
            return InternalError("The model failed on this audio; the server's log says why.")
        case Cause.NOT_FINITE:
            return NotFiniteAnswerError(message)
        case Cause.OUT_OF_MEMORY:
            return OutOfMemoryError(message)
