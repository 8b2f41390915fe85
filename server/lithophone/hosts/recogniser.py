"""The windows of one job, at a host that tells jobs apart by number."""

from __future__ import annotations

from typing import Protocol

from lithophone.backends.base import Recognition, RecognitionRequest
from lithophone.granite.family import ModelSpec


class JobHost(Protocol):
    """The part of a host that a job's recogniser needs."""

    @property
    def spec(self) -> ModelSpec:
        """What the model is."""
        ...

    @property
    def wants_more(self) -> bool:
        """See `Recogniser`."""
        ...

    async def recognise(self, job_id: int, request: RecognitionRequest, /) -> Recognition:
        """One window of a job; see `Recogniser`."""
        ...

    def cancel(self, job_id: int, /) -> None:
        """Forget a job; see `Recogniser`."""
        ...


class JobRecogniser:
    """See `Recogniser`."""

    def __init__(self, host: JobHost, job_id: int) -> None:
        self._host = host
        self._job_id = job_id

    @property
    def spec(self) -> ModelSpec:
        """See `Recogniser`."""
        return self._host.spec

    @property
    def wants_more(self) -> bool:
        """See `Recogniser`."""
        return self._host.wants_more

    async def recognise(self, request: RecognitionRequest) -> Recognition:
        """See `Recogniser`."""
        return await self._host.recognise(self._job_id, request)

    def cancel(self) -> None:
        """See `Recogniser`."""
        self._host.cancel(self._job_id)
