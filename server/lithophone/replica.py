"""What runs on another machine: the ordinary worker in a process of its own, and before it the methods that Ray calls.

A window that breaks the worker's process is dealt with here, as by any server: another process, the window once more, alone.
So the end of a replica tells nothing against the windows it had. Imports no Ray; `lithophone.hosts.ray_serve.cluster` makes it a
deployment of Ray Serve.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final

from lithophone.backends.base import BackendInfo
from lithophone.errors import UnavailableError
from lithophone.hosts.base import HostState
from lithophone.hosts.process import in_process
from lithophone.hosts.ray_serve.deployment import Served
from lithophone.hosts.ray_serve.scaling import QUEUED_METRIC
from lithophone.hosts.supervised import SupervisedHost
from lithophone.logs import configure_logging
from lithophone.worker.messages import Recognise, Recognised

ILL_SECONDS: Final = 120.0
"""For so long a worker may be on its way back; then Ray Serve is told to start another replica, maybe elsewhere."""


class Replica:
    """One of a model's workers, somewhere."""

    def __init__(self, served: Served) -> None:
        configure_logging(served.description.log_level, served.description.log_format)
        self._host = SupervisedHost(served.model_id, served.spec, in_process(served.description))
        self._windows: Counter[int] = Counter()
        self._left: set[int] = set()
        self._queued_seconds = 0.0
        self._ill_since: float | None = None

    async def reconfigure(self, _: object) -> None:
        """Load the model; Ray Serve calls this before the replica's first window, and counts an error as a failed start.

        Raises:
            ModelFailedError: it cannot be loaded.
        """
        await self._host.loaded()

    async def describe(self) -> BackendInfo:
        """What is loaded.

        Raises:
            UnavailableError: the worker has ended and another one is starting.
        """
        if self._host.info is None:
            raise UnavailableError(f"{self._host.model_id} is being started again: {self._host.failure}")
        return self._host.info

    async def recognise(self, message: Recognise) -> Recognised:
        """One window; a call that is cancelled drops its job's windows, if no other call is about that job.

        Raises:
            ServiceError: the model failed on it.
        """
        job_id = message.job_id
        self._windows[job_id] += 1
        self._queued_seconds += message.request.seconds
        try:
            return await self._host.hear(job_id, message.request)
        except asyncio.CancelledError:
            self._left.add(job_id)
            raise
        finally:
            self._queued_seconds -= message.request.seconds
            self._windows[job_id] -= 1
            if not self._windows[job_id]:
                self._forget(job_id)

    def _forget(self, job_id: int) -> None:
        """No call is about this job any more; what somebody has left of it stops."""
        del self._windows[job_id]
        if job_id in self._left:
            self._left.remove(job_id)
            self._host.cancel(job_id)

    async def check_health(self) -> None:
        """Ray Serve asks this again and again.

        Raises:
            UnavailableError: the worker does not come back.
        """
        now = asyncio.get_running_loop().time()
        if self._host.state is HostState.READY:
            self._ill_since = None
            return
        self._ill_since = now if self._ill_since is None else self._ill_since
        if self._host.state is not HostState.RESTARTING or now - self._ill_since > ILL_SECONDS:
            raise UnavailableError(f"{self._host.model_id} does not answer: {self._host.failure}")

    def record_autoscaling_stats(self) -> dict[str, float]:
        """What Ray Serve's controller is told; see `scaling`."""
        return {QUEUED_METRIC: self._queued_seconds}
