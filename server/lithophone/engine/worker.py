"""The one thread that owns the backend.

Takes commands, gives events; nobody else touches the model. Knows no asyncio: `emit` is called from the worker thread.
"""

from __future__ import annotations

import gc
import queue
import threading
import time
from collections import deque
from collections.abc import Callable

import msgspec
import psutil
import structlog

from lithophone.backends.base import Backend, Batch, Recognition
from lithophone.backends.batches import start_batch
from lithophone.engine.messages import (
    Cancel,
    Command,
    Event,
    Failed,
    Load,
    Loaded,
    LoadFailed,
    Loading,
    Recognise,
    Recognised,
    Stop,
    Stopped,
    Unload,
    Unloaded,
)
from lithophone.engine.scheduler import Scheduler
from lithophone.errors import StartupError

log = structlog.get_logger(__name__)


class _Running(msgspec.Struct, frozen=True):
    """A window in the batch, and when it joined (monotonic seconds)."""

    work: Recognise
    joined: float


class Worker:
    """Runs a batch that windows join as the scheduler picks them and leave as they are done."""

    def __init__(self, open_backend: Callable[[], Backend], emit: Callable[[Event], None]) -> None:
        self._open_backend = open_backend
        self._emit = emit
        self._inbox: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._scheduler = Scheduler()
        self._backend: Backend | None = None
        self._batch: Batch | None = None
        self._running: dict[int, _Running] = {}
        self._suspects: deque[Recognise] = deque()
        self._unload_wanted = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="lithophone-worker", daemon=True)

    def start(self) -> None:
        """Begin to take commands."""
        self._thread.start()

    def post(self, command: Command) -> None:
        """Hand over a command; from any thread, never blocks."""
        self._inbox.put(command)

    def join(self, wait_seconds: float) -> bool:
        """Wait for the end after `Stop`; false if it is still busy."""
        self._thread.join(wait_seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping:
            self._survive(self._turn)
        self._survive(self._unload)
        self._emit(Stopped())

    def _turn(self) -> None:
        self._take_commands(wait=not self._has_work())
        if not self._stopping:
            self._advance()

    def _survive(self, act: Callable[[], None]) -> None:
        """A fault outside of a step (a driver's, as a window is dropped or the model closed) must not end the thread."""
        try:
            act()
        except Exception:
            log.exception("worker_fault", windows=len(self._running))
            self._on_broken_batch()

    def _has_work(self) -> bool:
        return bool(self._running or self._suspects or len(self._scheduler) > 0)

    def _take_commands(self, *, wait: bool) -> None:
        """Obey everything in the inbox; with `wait`, sleep until there is something."""
        try:
            self._obey(self._inbox.get(block=wait))
            while True:
                self._obey(self._inbox.get_nowait())
        except queue.Empty:
            return

    def _obey(self, command: Command) -> None:
        match command:
            case Load():
                if self._backend is None:
                    self._load()
            case Unload():
                self._unload_wanted = True
            case Recognise():
                self._scheduler.add(command)
            case Cancel(job_id):
                self._cancel(job_id)
            case Stop():
                self._stopping = True

    def _cancel(self, job_id: int) -> None:
        self._scheduler.cancel(job_id)
        self._suspects = deque(work for work in self._suspects if work.job_id != job_id)
        for work_id, running in list(self._running.items()):
            if running.work.job_id == job_id:
                del self._running[work_id]
                if self._batch is not None:
                    self._batch.drop(work_id)

    def _interrupted(self) -> bool:
        """Asked by a backend inside a long step: is nobody left who wants this batch?"""
        self._take_commands(wait=False)
        return self._stopping or not self._running

    def _advance(self) -> None:
        """Let waiting windows join, then move the batch on by one step."""
        if self._unload_wanted and not self._running:
            self._unload()
        if not self._has_work():
            return
        backend = self._load()
        if isinstance(backend, LoadFailed):
            self._fail_waiting(backend)
            return
        self._join_waiting(backend)
        self._step()

    def _fail_waiting(self, failure: LoadFailed) -> None:
        for work in (*self._suspects, *self._scheduler.clear()):
            self._emit(Failed(work.work_id, failure.message))
        self._suspects.clear()

    def _join_waiting(self, backend: Backend) -> None:
        """Fill the batch. What joins counts as running before anything is done with it, so that no fault loses it."""
        batch = self._batch if self._running else None
        joining = self._joining(backend)
        for work in joining:
            self._running[work.work_id] = _Running(work, time.monotonic())
        if batch is None:
            batch = self._batch = start_batch(backend, self._interrupted)
        for work in joining:
            batch.admit(work.work_id, work.request)

    def _joining(self, backend: Backend) -> list[Recognise]:
        """Windows of a batch that broke run one by one first, and nothing joins before an unload."""
        if self._unload_wanted:
            return []
        if self._suspects:
            return [] if self._running else [self._suspects.popleft()]
        return self._scheduler.next_batch(backend.info.max_batch - len(self._running))

    def _step(self) -> None:
        if self._batch is None or not self._running:
            return
        try:
            done = self._batch.step()
        except Exception:
            log.exception("recognition_failed", windows=len(self._running))
            self._on_broken_batch()
            return
        for work_id, recognition in done:
            self._report(work_id, recognition)
        if not self._running:
            self._batch = None

    def _on_broken_batch(self) -> None:
        """A window that was alone has failed; one of several is not known, so that each is tried alone."""
        works = [running.work for running in self._running.values()]
        self._running.clear()
        self._batch = None
        if len(works) == 1:
            self._emit(Failed(works[0].work_id))
        else:
            self._suspects.extend(works)

    def _report(self, work_id: int, recognition: Recognition) -> None:
        running = self._running.pop(work_id, None)
        if running is not None and not recognition.interrupted:
            self._emit(Recognised(work_id, recognition, time.monotonic() - running.joined))

    def _load(self) -> Backend | LoadFailed:
        if self._backend is not None:
            return self._backend
        self._emit(Loading())
        started = time.monotonic()
        try:
            backend = self._open_backend()
            opened = time.monotonic()
            backend.warm_up()
        except StartupError as error:
            return self._load_failed(error.message)
        except Exception as error:
            log.exception("load_failed")
            return self._load_failed(f"{type(error).__name__}: {error}")
        self._backend = backend
        self._emit(Loaded(backend.info, opened - started, time.monotonic() - opened))
        return backend

    def _load_failed(self, message: str) -> LoadFailed:
        gc.collect()  # what was loaded until then
        failure = LoadFailed(message)
        self._emit(failure)
        return failure

    def _unload(self) -> None:
        self._unload_wanted = False
        self._batch = None
        if self._backend is None:
            return
        before = _resident_bytes()
        closing, self._backend = self._backend, None
        closing.close()
        del closing
        gc.collect()
        self._emit(Unloaded(before, _resident_bytes()))


def _resident_bytes() -> int:
    return psutil.Process().memory_info().rss
