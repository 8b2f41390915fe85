"""The loop of the thread that owns a backend.

Takes commands, gives events; nobody else touches the model. What is decoded is made an answer beside the loop, so that
the model never waits for plain work of the processor. Knows no asyncio, no torch, and not which process it is in: `emit`
is called from the loop and from the threads that make answers.
"""

from __future__ import annotations

import gc
import os
import queue
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import msgspec
import psutil
import structlog

from lithophone.backends.base import Answer, Backend, Batch, Fault, HeardAnswer, NotFiniteError, Runtime
from lithophone.errors import DoesNotFitError, StartupError
from lithophone.worker.limit import WindowLimit
from lithophone.worker.messages import (
    Cancel,
    Cause,
    Command,
    Course,
    Event,
    Failed,
    Grown,
    Loaded,
    LoadFailed,
    Lost,
    Recognise,
    Recognised,
    Started,
    Stop,
)
from lithophone.worker.rehearsal import rehearse
from lithophone.worker.scheduler import Scheduler
from lithophone.worker.watch import StepWatch

log = structlog.get_logger(__name__)

ANSWER_THREADS = 1
RESERVED_OF = 8  # places of a batch one is kept for jobs that have none, so that a short file need not wait for a long one
TOLD_GROWTH = 1.05  # of memory since it was told last
OUT_OF_MEMORY_MESSAGE = "There is not enough memory for this window beside the model."


class _Running(msgspec.Struct, frozen=True):
    """A window in the batch, and when it joined: in monotonic seconds, and in seconds since 1970."""

    work: Recognise
    joined: float
    joined_at: float


class Worker:
    """Loads a model and runs a batch that windows join as the scheduler picks them and leave as they are decoded.

    Args:
        open_backend: Loads the model; called in the loop's thread.
        emit: Takes the events.
        runtime: What surrounds the model's work, and what its errors mean.

    Attributes:
        watch: Tells whether a step is stuck.
    """

    def __init__(
        self, open_backend: Callable[[], Backend], emit: Callable[[Event], None], runtime: Runtime
    ) -> None:
        self._open_backend = open_backend
        self._emit = emit
        self._runtime = runtime
        self._inbox: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._scheduler = Scheduler()
        self._limit = WindowLimit()
        self.watch = StepWatch()
        self._batch: Batch | None = None
        self._running: dict[int, _Running] = {}
        self._first: deque[Recognise] = deque()
        self._live_keys: dict[int, str] = {}
        self._stopping = False
        self._lost: str | None = None
        self._told_bytes = 0

    def post(self, command: Command) -> None:
        """Hand over a command; from any thread, never blocks."""
        self._inbox.put(command)

    def run(self) -> None:
        """Load, serve, and give the memory back; returns after `Stop`, a load that fails, or the device's loss."""
        with self._runtime.thread():
            backend = self._load()
            if backend is not None:
                with ThreadPoolExecutor(ANSWER_THREADS, "lithophone-answers") as answering:
                    self._serve(backend, answering)
                self._close(backend)
            del backend
            gc.collect()
        if self._lost is not None:
            self._emit(Lost(self._lost))  # behind the last answer, so that nothing is done twice

    def _load(self) -> Backend | None:
        started = time.monotonic()
        try:
            backend = self._open_backend()
            opened = time.monotonic()
            log.info("model_warming_up", model=backend.info.model_id, load_seconds=round(opened - started, 2))
            backend.warm_up()
            if backend.info.device != "cpu":  # there, the largest batch would take minutes
                rehearse(backend, self._limit, self._runtime)
        except DoesNotFitError as error:
            self._emit(LoadFailed(error.message, error.lacking_bytes))
            return None
        except StartupError as error:
            self._emit(LoadFailed(error.message))
            return None
        except Exception as error:
            log.exception("load_failed")
            self._emit(LoadFailed(f"{type(error).__name__}: {error}"))
            return None
        warmed = time.monotonic()
        self._told_bytes = self._runtime.memory_bytes()
        self._emit(Loaded(backend.info, opened - started, warmed - opened, self._told_bytes))
        return backend

    def _close(self, backend: Backend) -> None:
        """What fails here has nobody to tell: the model is gone either way. A lost device is not spoken to again."""
        self._batch = None
        if self._lost is not None:
            return
        before_bytes = _resident_bytes()
        try:
            backend.close()
        except Exception:
            log.exception("close_failed")
        log.info("model_closed", resident_before_bytes=before_bytes, resident_after_bytes=_resident_bytes())

    def _serve(self, backend: Backend, answering: ThreadPoolExecutor) -> None:
        while not self._stopping:
            self._take_commands(backend, wait=not self._has_work())
            if self._stopping or not self._has_work():
                continue
            try:
                self._advance(backend, answering)
            except Exception as error:  # noqa: BLE001 - judged and logged there
                self._on_fault(error)
            finally:
                self.watch.end()

    def _has_work(self) -> bool:
        return bool(self._running or self._first or len(self._scheduler) > 0)

    def _take_commands(self, backend: Backend, *, wait: bool) -> None:
        """Obey everything in the inbox; with `wait`, sleep until there is something."""
        try:
            self._obey(self._inbox.get(block=wait), backend)
            while True:
                self._obey(self._inbox.get_nowait(), backend)
        except queue.Empty:
            return

    def _obey(self, command: Command, backend: Backend) -> None:
        match command:
            case Recognise(alone=True):
                self._first.append(command)
            case Recognise():
                self._scheduler.add(command)
            case Cancel(job_id):
                self._cancel(job_id)
                self._end_live(job_id, backend)
            case Stop():
                self._stopping = True

    def _cancel(self, job_id: int) -> None:
        self._scheduler.cancel(job_id)
        self._first = deque(work for work in self._first if work.job_id != job_id)
        for work_id, running in list(self._running.items()):
            if running.work.job_id == job_id:
                del self._running[work_id]
                self._drop(work_id)

    def _end_live(self, job_id: int, backend: Backend) -> None:
        """The window that a job heard while it grew grows no more."""
        key = self._live_keys.pop(job_id, None)
        if key is not None:
            backend.forget(key)

    def _drop(self, work_id: int) -> None:
        if self._batch is None:
            return
        try:
            self._batch.drop(work_id)
        except Exception as error:  # noqa: BLE001 - judged and logged there
            self._on_fault(error)

    def _interrupted(self, backend: Backend) -> bool:
        """Asked by a backend inside a long step: is nobody left who wants this batch?"""
        self._take_commands(backend, wait=False)
        return self._stopping or not self._running

    def _advance(self, backend: Backend, answering: ThreadPoolExecutor) -> None:
        """Let waiting windows join, then move the batch on by one step."""
        batch = self._join_waiting(backend)
        if self._running:
            done = batch.step()
            for work_id, answer in done:
                self._hand_over(work_id, answer, backend, answering)
        if not self._running:
            self._batch = None

    def _join_waiting(self, backend: Backend) -> Batch:
        """Fill the batch. What joins counts as running before anything is done with it, so that no fault loses it."""
        joining = self._joining(backend.info.max_batch)
        for work in joining:
            self._running[work.work_id] = _Running(work, time.monotonic(), time.time())
        running = [one.work for one in self._running.values()]
        self.watch.begin(_audio_seconds(joining), _audio_seconds(running))
        if joining:
            self._emit(Started(tuple(work.work_id for work in joining)))
        if self._batch is None:
            self._batch = backend.start_batch(partial(self._interrupted, backend))
        batch = self._batch
        for work in joining:
            self._note_live(work, backend)
            batch.admit(work.work_id, work.request)
        return batch

    def _note_live(self, work: Recognise, backend: Backend) -> None:
        """Of a job one window grows at a time: a new one ends the one before."""
        live = work.request.live
        if live is None or live.key == self._live_keys.get(work.job_id):
            return
        self._end_live(work.job_id, backend)
        self._live_keys[work.job_id] = live.key

    def _joining(self, most: int) -> Sequence[Recognise]:
        """Windows that have been in a batch before come first; one that may break others has the model to itself."""
        places = self._limit.of(most)
        room = places - len(self._running)
        if not self._first:
            present = {running.work.job_id for running in self._running.values()}
            return self._scheduler.next_batch(room, reserved=places // RESERVED_OF, present=present)
        if self._first[0].alone:
            return [] if self._running else [self._first.popleft()]
        joining: list[Recognise] = []
        while self._first and not self._first[0].alone and len(joining) < room:
            joining.append(self._first.popleft())
        return joining

    def _hand_over(
        self, work_id: int, answer: Answer, backend: Backend, answering: ThreadPoolExecutor
    ) -> None:
        running = self._running.pop(work_id, None)
        if running is not None:
            self._limit.went_well(backend.info.max_batch)
            answering.submit(self._answer, running, answer, time.monotonic())
            self._tell_growth()

    def _tell_growth(self) -> None:
        memory_bytes = self._runtime.memory_bytes()
        if memory_bytes > TOLD_GROWTH * self._told_bytes:
            self._told_bytes = memory_bytes
            self._emit(Grown(memory_bytes))

    def _answer(self, running: _Running, answer: Answer, decoded: float) -> None:
        """In a thread of its own; what was `decoded` then may have waited for it."""
        work_id = running.work.work_id
        try:
            recognition = answer()
        except NotFiniteError as error:
            log.error("not_finite", reason=str(error))  # noqa: TRY400 - the traceback says nothing more
            self._emit(Failed(work_id, Cause.NOT_FINITE, str(error)))
        except Exception:
            log.exception("answer_failed")
            self._emit(Failed(work_id, Cause.MODEL))
        else:
            seconds = time.monotonic() - running.joined
            self._emit(Recognised(work_id, recognition, seconds, _course(running, answer, decoded, seconds)))

    def _on_fault(self, error: Exception) -> None:
        """The batch is gone. What becomes of its windows depends on what the error means."""
        fault = self._runtime.judge(error)
        works = [running.work for running in self._running.values()]
        log.error("batch_failed", fault=fault.value, windows=len(works), exc_info=error)
        self._running.clear()
        self._batch = None
        match fault:
            case Fault.WINDOW:
                self._try_alone(works)
            case Fault.OUT_OF_MEMORY:
                self._try_fewer(works)
            case Fault.DEVICE_LOST:
                self._stopping = True
                self._lost = f"{type(error).__name__}: {error}"

    def _try_alone(self, works: Sequence[Recognise]) -> None:
        """A window that was alone has failed; one of several is not known, so that each is tried alone."""
        if len(works) == 1:
            self._emit(Failed(works[0].work_id, Cause.MODEL))
            return
        self._first.extendleft(msgspec.structs.replace(work, alone=True) for work in reversed(works))

    def _try_fewer(self, works: Sequence[Recognise]) -> None:
        self._runtime.trim()
        if works:
            self._limit.lower(len(works))
        if len(works) == 1:
            self._emit(Failed(works[0].work_id, Cause.OUT_OF_MEMORY, OUT_OF_MEMORY_MESSAGE))
            return
        self._first.extendleft(reversed(works))


def _course(running: _Running, answer: Answer, decoded: float, seconds: float) -> Course | None:
    if not isinstance(answer, HeardAnswer):
        return None
    return Course(
        process_id=os.getpid(),
        joined_at=running.joined_at,
        hearing=answer.hearing.began - running.joined,
        decoding=answer.hearing.ended - running.joined,
        answering=decoded - running.joined,
        answered=seconds,
    )


def _audio_seconds(works: Sequence[Recognise]) -> float:
    return sum(work.request.seconds for work in works)


def _resident_bytes() -> int:
    return psutil.Process().memory_info().rss
