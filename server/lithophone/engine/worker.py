"""The one thread that owns the backend.

Takes commands, gives events; nobody else touches the model. Knows no asyncio: `emit` is called from the worker thread.
"""

from __future__ import annotations

import gc
import queue
import threading
import time
from collections.abc import Callable, Sequence

import psutil
import structlog

from lithophone.backends.base import Backend, Recognition
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


class Worker:
    """Runs commands one after another; windows in batches as the scheduler picks them."""

    def __init__(self, open_backend: Callable[[], Backend], emit: Callable[[Event], None]) -> None:
        self._open_backend = open_backend
        self._emit = emit
        self._inbox: queue.SimpleQueue[Command] = queue.SimpleQueue()
        self._scheduler = Scheduler()
        self._backend: Backend | None = None
        self._running: set[int] = set()
        self._cancelled: set[int] = set()
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
            self._take_commands(wait=len(self._scheduler) == 0)
            if not self._stopping and len(self._scheduler) > 0:
                self._run_batch()
        self._unload()
        self._emit(Stopped())

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
                self._load()
            case Unload():
                self._unload()
            case Recognise():
                self._scheduler.add(command)
            case Cancel(job_id):
                self._scheduler.cancel(job_id)
                self._cancelled |= {job_id} & self._running
            case Stop():
                self._stopping = True

    def _interrupted(self) -> bool:
        """Asked by the backend between decoding steps: is nobody left who wants this batch?

        Only cancellations and stop are obeyed here; loading or unloading under a running batch waits for its end.
        """
        deferred: list[Command] = []
        while not self._inbox.empty():
            command = self._inbox.get_nowait()
            if isinstance(command, Load | Unload):
                deferred.append(command)
            else:
                self._obey(command)
        for command in deferred:
            self._inbox.put(command)
        return self._stopping or self._running <= self._cancelled

    def _run_batch(self) -> None:
        backend = self._load()
        if isinstance(backend, LoadFailed):
            for work in self._scheduler.clear():
                self._emit(Failed(work.work_id, backend.message))
            return
        batch = self._scheduler.next_batch(backend.info.max_batch)
        self._running = {work.job_id for work in batch}
        self._cancelled = set()
        started = time.monotonic()
        try:
            results = backend.recognise([work.request for work in batch], self._interrupted)
        except Exception:
            log.exception("recognition_failed", windows=len(batch))
            for work in batch:
                self._emit(Failed(work.work_id))
        else:
            self._report(batch, results, time.monotonic() - started)
        finally:
            self._running = set()

    def _report(self, batch: Sequence[Recognise], results: Sequence[Recognition], seconds: float) -> None:
        for work, recognition in zip(batch, results, strict=True):
            if work.job_id not in self._cancelled and not recognition.interrupted:
                self._emit(Recognised(work.work_id, recognition, seconds))

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
        if self._backend is None:
            return
        before = _resident_bytes()
        self._backend.close()
        self._backend = None
        gc.collect()
        self._emit(Unloaded(before, _resident_bytes()))


def _resident_bytes() -> int:
    return psutil.Process().memory_info().rss
