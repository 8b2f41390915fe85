"""A model whose windows are heard by replicas on the machines of a cluster.

Owns the host's states and the calls under way. A window whose replica ends before it has answered is tried elsewhere; which replica hears a window, how many there are and where they run is the cluster's affair.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Coroutine, Generator
from contextlib import contextmanager, suppress
from typing import Final

import structlog

from lithophone.backends.base import BackendInfo, Recognition, RecognitionRequest
from lithophone.errors import (
    LithophoneError,
    LoadingError,
    ModelFailedError,
    RequestCancelledError,
    ServiceError,
    UnavailableError,
)
from lithophone.granite.family import ModelSpec
from lithophone.hosts.base import HostState, Recogniser
from lithophone.hosts.courses import tell_course
from lithophone.hosts.ray_serve.aside import Aside
from lithophone.hosts.ray_serve.deployment import Call, CallCancelledError, Deployment, ReplicaLostError, Seen
from lithophone.hosts.recogniser import JobRecogniser
from lithophone.hosts.supervised import BATCHES_UNDERWAY
from lithophone.hosts.tally import Tally
from lithophone.worker.messages import Recognise, Recognised

log = structlog.get_logger(__name__)

MOST_LOSSES: Final = 5
"""Replicas that a window may lose. That it ends a model's process each replica finds out by itself; a replica ends with its
machine, and where machines are taken away one after another, a window is not to blame for having met two of them."""
AGAIN_SECONDS: Final = 0.25  # before a replica that did not answer may be asked again
LOOK_SECONDS: Final = 1.0
LEAVE_SECONDS: Final = 10.0
JOB_BITS: Final = 62  # where jobs are counted from is drawn: replicas tell apart those of several servers


class RayHost:
    """See `ModelHost`.

    Args:
        model_id: The name the model is served under.
        spec: What it is.
        deployment: Its replicas.
        look_seconds: How often the cluster is asked how they do.
    """

    def __init__(
        self, model_id: str, spec: ModelSpec, deployment: Deployment, *, look_seconds: float = LOOK_SECONDS
    ) -> None:
        self.model_id = model_id
        self.spec = spec
        self.state = HostState.COLD
        self.failure: str | None = None
        self.info: BackendInfo | None = None
        self.fetched = None  # each replica fetches for itself
        self.memory_bytes = 0  # of other machines
        self.lacking_bytes = 0
        self.last_used = 0.0
        self.room_bytes: int | None = None
        self.tally = Tally()
        self._deployment = deployment
        self._aside = Aside()
        self._look_seconds = look_seconds
        self._ids = itertools.count(secrets.randbits(JOB_BITS))
        self._calls: dict[int, set[Call[Recognised]]] = defaultdict(set)
        self._under_way = 0
        self._replicas = 0
        self._users = 0
        self._loss_noted = 0.0
        self._life: asyncio.Task[None] | None = None
        self._waiters: list[asyncio.Future[None]] = []

    def start(self) -> None:
        """See `ModelHost`."""
        if self.state in {HostState.COLD, HostState.FAILED}:
            self._enter(HostState.LOADING)
            self._live(self._load())

    async def loaded(self) -> None:
        """See `ModelHost`."""
        if self.state is HostState.READY:
            return
        self._require_running()
        self.start()
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    @contextmanager
    def in_use(self) -> Generator[None]:
        """See `ModelHost`."""
        self._users += 1
        try:
            yield
        finally:
            self._users -= 1
            self.last_used = asyncio.get_running_loop().time()

    @property
    def is_idle(self) -> bool:
        """See `ModelHost`."""
        return not self._users and not self._under_way

    @property
    def wants_more(self) -> bool:
        """See `Recogniser`. Where there may be one replica more, there is work for it, or there would be no reason for it."""
        if self.info is None:
            return False
        replicas = max(self._replicas, min(self._replicas + 1, self._deployment.scale.max_replicas))
        return self._under_way < BATCHES_UNDERWAY * self.info.max_batch * replicas

    def open_recogniser(self) -> Recogniser:
        """See `ModelHost`."""
        return JobRecogniser(self, next(self._ids))

    async def unload(self) -> None:
        """See `ModelHost`. The replicas end, for other servers of this cluster too, which start them again at need."""
        if self.state in {HostState.READY, HostState.LOADING} and self.is_idle:
            self._enter(HostState.COLD)
            self._settle(LoadingError(f"{self.model_id} was unloaded before it was ready."))
            self._end_life()
            await self._aside.do(self._deployment.remove)
            log.info("model_unloaded", model=self.model_id)

    async def stop(self) -> None:
        """See `ModelHost`."""
        self._enter(HostState.STOPPED)
        self._settle(UnavailableError("The server stopped before this audio was transcribed."))
        self._end_life()
        for job_id in list(self._calls):
            self.cancel(job_id)
        with suppress(TimeoutError):  # a cluster that was ended before us does not answer
            async with asyncio.timeout(LEAVE_SECONDS):
                await self._aside.do(self._deployment.leave)

    async def recognise(self, job_id: int, request: RecognitionRequest) -> Recognition:
        """One window of a job; see `Recogniser`."""
        self._require_running()
        self.start()
        began, posted_at = asyncio.get_running_loop().time(), time.time()
        self._under_way += 1
        try:
            recognised = await self._anywhere(Recognise(next(self._ids), job_id, request))
        finally:
            self._under_way -= 1
        took = asyncio.get_running_loop().time() - began
        self.tally.waited.add(max(0.0, took - recognised.seconds))
        self.tally.add(request, recognised)
        tell_course(self.model_id, request, posted_at, recognised)
        return recognised.recognition

    def cancel(self, job_id: int) -> None:
        """Forget a job; see `Recogniser`."""
        for call in self._calls.get(job_id, ()):
            call.cancel()

    async def _anywhere(self, message: Recognise) -> Recognised:
        """At one replica, or at others if it is lost.

        The cluster needs a while to notice that a machine is gone, and may choose it again meanwhile.

        Raises:
            UnavailableError: so are they.
            ServiceError: the model failed.
        """
        lost: set[str] = set()
        while len(lost) < MOST_LOSSES:
            try:
                return await self._once(message)
            except ReplicaLostError as error:
                self._note_loss(str(error))
                if error.replica in lost:
                    await asyncio.sleep(AGAIN_SECONDS)
                lost.add(error.replica)
        raise UnavailableError(f"Replicas of {self.model_id} were lost before they had answered; try again.")

    async def _once(self, message: Recognise) -> Recognised:
        call = self._deployment.recognise(message)
        calls = self._calls[message.job_id]
        calls.add(call)
        try:
            return await call.answer()
        except CallCancelledError:
            self._require_running()
            raise RequestCancelledError("This audio was forgotten.") from None
        except asyncio.CancelledError:
            call.cancel()
            raise
        finally:
            calls.discard(call)
            if not calls:
                self._calls.pop(message.job_id, None)

    def _note_loss(self, reason: str) -> None:
        """Once for all windows of a replica: they find out together."""
        now = asyncio.get_running_loop().time()
        if now - self._loss_noted > self._look_seconds:
            self._loss_noted = now
            self.tally.restarts += 1
            log.error("replica_lost", model=self.model_id, reason=reason)

    def _require_running(self) -> None:
        if self.state is HostState.STOPPED:
            raise UnavailableError("The server is stopping.")

    async def _load(self) -> None:
        """See to it that there are replicas, wait for the first, then watch over them."""
        log.info("model_loading", model=self.model_id)
        began = asyncio.get_running_loop().time()
        try:
            await self._aside.do(self._deployment.connect)
            _put_signals_back()
            await self._aside.do(self._deployment.deploy)
            self.info = await self._described()
        except LithophoneError as error:
            self._on_failed(error.message)
        except Exception as error:
            log.exception("load_failed")
            self._on_failed(f"{type(error).__name__}: {error}")
        else:
            self._on_loaded(self.info, asyncio.get_running_loop().time() - began)
            await self._watch()

    async def _described(self) -> BackendInfo:
        """What the first replica says.

        Raises:
            ModelFailedError: there will be none.
        """
        while True:
            call = self._deployment.describe()
            answer = asyncio.get_running_loop().create_task(call.answer())
            answer.add_done_callback(_not_lost)
            try:
                while not answer.done():
                    await self._look()
                    await asyncio.wait((answer,), timeout=self._look_seconds)
                return answer.result()
            except (ReplicaLostError, UnavailableError) as error:
                if not (await self._look()).exists:
                    raise ModelFailedError(str(error)) from None
                await asyncio.sleep(self._look_seconds)
            finally:
                call.cancel()
                answer.cancel()

    async def _look(self) -> Seen:
        """How the replicas do.

        Raises:
            ModelFailedError: there will be none.
        """
        seen = await self._aside.do(self._deployment.look)
        self._replicas = seen.replicas
        if seen.failure is not None:
            raise ModelFailedError(seen.failure)
        return seen

    async def _watch(self) -> None:
        """As long as the model is there."""
        while self.state in {HostState.READY, HostState.RESTARTING}:
            await asyncio.sleep(self._look_seconds)
            try:
                self._on_seen(await self._look())
            except ModelFailedError as error:
                self._on_failed(error.message)

    def _on_seen(self, seen: Seen) -> None:
        if seen.replicas:
            self.failure = None
            self._enter(HostState.READY)
            self._settle(None)
        elif not seen.exists or (not self._deployment.scale.least_replicas and self.is_idle):
            log.info("model_unloaded", model=self.model_id)
            self._enter(HostState.COLD)
        elif self._deployment.scale.least_replicas:
            self.failure = seen.trouble or "no replica is left"
            self._enter(HostState.RESTARTING)

    def _on_loaded(self, info: BackendInfo, seconds: float) -> None:
        self.tally.loads += 1
        self.tally.load_seconds += seconds
        self.failure = None
        self._enter(HostState.READY)
        self._settle(None)
        log.info(
            "model_ready",
            model=self.model_id,
            device=info.device,
            dtype=info.dtype,
            load_seconds=round(seconds, 2),
            revision=info.revision,
        )

    def _on_failed(self, message: str) -> None:
        log.error("model_failed", model=self.model_id, reason=message)
        self.tally.failed_loads += 1
        self.failure = message
        self._enter(HostState.FAILED)
        self._settle(ModelFailedError(f"The model could not be loaded: {message}"))

    def _live(self, life: Coroutine[None, None, None]) -> None:
        self._end_life()
        self._life = asyncio.get_running_loop().create_task(life)

    def _end_life(self) -> None:
        if self._life is not None:
            self._life.cancel()
            self._life = None

    def _enter(self, state: HostState) -> None:
        if self.state is not HostState.STOPPED:
            self.state = state

    def _settle(self, failure: ServiceError | None) -> None:
        """Tell those who wait for the model."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if waiter.done():
                continue
            if failure is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(failure)


def _not_lost(answer: asyncio.Task[BackendInfo]) -> None:
    """Whoever has asked may have gone."""
    if not answer.cancelled():
        answer.exception()


def _put_signals_back() -> None:
    """Ray's native code takes SIGTERM for a crash, from the moment it connects; Python alone remembers what it was set to."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
