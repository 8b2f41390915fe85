"""The engine as the server sees it: states, admission, and windows in exchange for recognitions.

Owns the asyncio side of the worker: futures by work id, the count of admitted requests, loading and unloading.
Knows no wire format and no file; all model work happens in the worker's thread.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import contextmanager
from enum import Enum

import msgspec
import structlog

from lithophone.backends.base import (
    Backend,
    BackendInfo,
    Recognition,
    RecognitionRequest,
    VoiceDetector,
    VoiceStream,
)
from lithophone.engine.job import Job, JobOptions
from lithophone.engine.language import prepare_detection
from lithophone.engine.messages import (
    Cancel,
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
from lithophone.engine.worker import Worker
from lithophone.errors import (
    DrainingError,
    InternalError,
    LoadingError,
    ModelFailedError,
    OverloadedError,
    ServiceError,
    UnavailableError,
)
from lithophone.granite.family import ModelSpec

log = structlog.get_logger(__name__)

STOP_WAIT_SECONDS = 30.0


class EngineState(Enum):
    """What the engine can do now. `IDLE`: the memory was given back, the next request loads the model again."""

    LOADING = "loading"
    READY = "ready"
    IDLE = "idle"
    FAILED = "failed"
    DRAINING = "draining"
    STOPPED = "stopped"


class EngineOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of the engine.

    `max_requests` are admitted at once, running and waiting together. Each may have `windows_ahead` windows recognised
    or waiting while its audio is still being decoded. After `unload_after_seconds` without a request the model's
    memory is given back; 0 keeps it.
    """

    max_requests: int = 32
    windows_ahead: int = 2
    unload_after_seconds: float = 0.0


class Engine:
    """One model, one worker, many jobs."""

    def __init__(
        self,
        open_backend: Callable[[], Backend],
        *,
        spec: ModelSpec,
        model_id: str,
        options: EngineOptions | None = None,
        voice: VoiceDetector | None = None,
    ) -> None:
        self.spec = spec
        self.model_id = model_id
        self.options = options or EngineOptions()
        self.state = EngineState.LOADING
        self.failure: str | None = None
        self.info: BackendInfo | None = None
        self._open_backend = open_backend
        self._voice = voice
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Recognition]] = {}
        self._admitted = 0
        self._request_seconds = 1.0  # running mean, for Retry-After
        self._worker: Worker | None = None
        self._stopped = asyncio.Event()
        self._settled = asyncio.Event()
        self._idle_timer: asyncio.TimerHandle | None = None

    @property
    def windows_ahead(self) -> int:
        """How many windows of a job may be recognised or waiting while its audio is still being decoded."""
        return self.options.windows_ahead

    async def start(self) -> None:
        """Start the worker and let it load and warm up the model; returns at once."""
        loop = asyncio.get_running_loop()

        def deliver(event: Event) -> None:
            loop.call_soon_threadsafe(self._on_event, event)

        self._worker = Worker(self._open, deliver)
        self._worker.start()
        self._worker.post(Load())

    def _open(self) -> Backend:
        """In the worker's thread, and before the engine is ready."""
        prepare_detection(self.spec.speech_languages)
        return self._open_backend()

    async def settled(self) -> None:
        """Wait until loading has ended, well or badly."""
        await self._settled.wait()

    def drain(self) -> None:
        """Take no new requests; those admitted go on."""
        if self.state is not EngineState.STOPPED:
            self.state = EngineState.DRAINING

    async def stop(self) -> None:
        """Drop what waits, give the memory back, end the worker."""
        self.drain()
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        if self._worker is None:
            self.state = EngineState.STOPPED
            return
        self._worker.post(Stop())
        try:
            await asyncio.wait_for(self._stopped.wait(), STOP_WAIT_SECONDS)
        except TimeoutError:
            log.warning("worker_still_busy", waited_seconds=STOP_WAIT_SECONDS)

    def unload(self) -> None:
        """Give the model's memory back now; the next request loads it again."""
        if self._worker is not None and self.state is EngineState.READY:
            self._worker.post(Unload())

    def require_ready(self) -> None:
        """Check that a transcription would be answered; a model that was unloaded loads on demand.

        Raises:
            LoadingError: the model is not ready yet.
            ModelFailedError: it could not be loaded.
            DrainingError: the server is shutting down.
        """
        match self.state:
            case EngineState.LOADING:
                raise LoadingError("The model is still loading; ask /ready.")
            case EngineState.FAILED:
                raise ModelFailedError(f"The model could not be loaded: {self.failure}")
            case EngineState.DRAINING | EngineState.STOPPED:
                raise DrainingError("The server is shutting down.")
            case EngineState.READY | EngineState.IDLE:
                pass

    @contextmanager
    def admit(self) -> Generator[None]:
        """Hold one of `max_requests` places for the life of a request.

        Raises:
            OverloadedError: every place is taken.
            LoadingError, ModelFailedError, DrainingError: see `require_ready`.
        """
        self.require_ready()
        self._require_place()
        self._admitted += 1
        self._cancel_idle_timer()
        started = time.monotonic()
        try:
            yield
        finally:
            self._admitted -= 1
            self._request_seconds += 0.2 * (time.monotonic() - started - self._request_seconds)
            self._arm_idle_timer()

    def job(self, blocks: AsyncGenerator[bytes], options: JobOptions) -> Job:
        """A transcription of a PCM stream; `blocks` are s16le mono 16 kHz."""
        return Job(self, next(self._ids), blocks, options)

    def open_voice(self) -> VoiceStream | None:
        """Voice activity for a recording; none if the engine was built without a detector."""
        return None if self._voice is None else self._voice.open_stream()

    async def recognise(self, job_id: int, request: RecognitionRequest) -> Recognition:
        """One window through the model.

        Raises:
            InternalError: the model failed on this window.
            UnavailableError: the engine stopped first.
            ModelFailedError: the model could not be loaded again.
        """
        if self._worker is None or self.state is EngineState.STOPPED:
            raise UnavailableError("The engine is not running.")
        work_id = next(self._ids)
        future: asyncio.Future[Recognition] = asyncio.get_running_loop().create_future()
        self._waiting[work_id] = future
        self._worker.post(Recognise(work_id, job_id, request))
        try:
            return await future
        finally:
            self._waiting.pop(work_id, None)

    def cancel(self, job_id: int) -> None:
        """Forget the windows of a job; a decoding that runs for it alone stops at its next token."""
        if self._worker is not None:
            self._worker.post(Cancel(job_id))

    def _require_place(self) -> None:
        if self._admitted >= self.options.max_requests:
            raise OverloadedError(
                f"All {self.options.max_requests} places are taken; try again later.",
                retry_after_seconds=max(1, math.ceil(self._request_seconds)),
            )

    def _on_event(self, event: Event) -> None:
        match event:
            case Recognised(work_id, recognition, _):
                self._resolve(work_id, recognition)
            case Failed(work_id, load_failure):
                self._fail(work_id, _failure(load_failure))
            case Stopped():
                self._on_stopped()
            case _:
                self._on_model_event(event)

    def _on_model_event(self, event: Loading | Loaded | LoadFailed | Unloaded) -> None:
        match event:
            case Loading():
                log.info("model_loading", model=self.model_id)
            case Loaded(info, load_seconds, warm_up_seconds):
                self.info = info
                self.failure = None
                self._enter(EngineState.READY)
                log.info(
                    "model_ready",
                    model=info.model_id,
                    device=info.device,
                    dtype=info.dtype,
                    load_seconds=round(load_seconds, 2),
                    warm_up_seconds=round(warm_up_seconds, 2),
                )
                self._arm_idle_timer()
            case LoadFailed(message):
                self.failure = message
                self._enter(EngineState.FAILED if self.info is None else EngineState.IDLE)
                log.error("model_failed", model=self.model_id, reason=message)
            case Unloaded(before_bytes, after_bytes):
                self._enter(EngineState.IDLE)
                log.info(
                    "model_unloaded", resident_before_bytes=before_bytes, resident_after_bytes=after_bytes
                )

    def _enter(self, state: EngineState) -> None:
        self._settled.set()
        if self.state not in {EngineState.DRAINING, EngineState.STOPPED}:
            self.state = state

    def _on_stopped(self) -> None:
        self.state = EngineState.STOPPED
        for work_id in list(self._waiting):
            self._fail(work_id, UnavailableError("The server stopped before this audio was transcribed."))
        self._stopped.set()

    def _resolve(self, work_id: int, recognition: Recognition) -> None:
        future = self._waiting.get(work_id)
        if future is not None and not future.done():
            future.set_result(recognition)

    def _fail(self, work_id: int, error: Exception) -> None:
        future = self._waiting.get(work_id)
        if future is not None and not future.done():
            future.set_exception(error)

    def _arm_idle_timer(self) -> None:
        if self.options.unload_after_seconds > 0 and self._admitted == 0:
            self._cancel_idle_timer()
            loop = asyncio.get_running_loop()
            self._idle_timer = loop.call_later(self.options.unload_after_seconds, self.unload)

    def _cancel_idle_timer(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
            self._idle_timer = None


def _failure(load_failure: str | None) -> ServiceError:
    if load_failure is not None:
        return ModelFailedError(f"The model could not be loaded again: {load_failure}")
    return InternalError("The model failed on this audio; the server's log says why.")
