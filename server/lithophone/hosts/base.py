"""The contract between a server and a model, wherever it runs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from enum import Enum
from typing import Protocol

from lithophone.backends.base import BackendInfo, Recognition, RecognitionRequest
from lithophone.granite.family import ModelSpec
from lithophone.hosts.tally import Tally
from lithophone.hub.progress import Fetched
from lithophone.worker.messages import Command, Event


class HostState(Enum):
    """What a host can do now."""

    COLD = "cold"
    """The model is not in memory; it is loaded for the next request."""

    LOADING = "loading"
    READY = "ready"

    RESTARTING = "restarting"
    """Its worker ended by itself; another one takes over what was under way."""

    FAILED = "failed"
    """It could not be loaded; the next request tries again."""

    STOPPED = "stopped"


class Recogniser(Protocol):
    """The windows of one job at one model."""

    @property
    def spec(self) -> ModelSpec:
        """What the model is."""
        ...

    @property
    def wants_more(self) -> bool:
        """Whether so few windows are under way, of all jobs, that more of them would keep the model's batch full."""
        ...

    async def recognise(self, request: RecognitionRequest) -> Recognition:
        """One window through the model.

        Raises:
            ServiceError: the model failed on this window, could not be loaded, or was stopped first.
        """
        ...

    def cancel(self) -> None:
        """Forget every window of the job; a decoding that runs for it alone stops at its next token."""
        ...


class ModelHost(Protocol):
    """One model: its state, and windows in exchange for recognitions."""

    @property
    def model_id(self) -> str:
        """The name it is served under."""
        ...

    @property
    def spec(self) -> ModelSpec:
        """What it is."""
        ...

    @property
    def state(self) -> HostState:
        """What it can do now."""
        ...

    @property
    def failure(self) -> str | None:
        """Why it cannot, in `FAILED` and `RESTARTING`."""
        ...

    @property
    def info(self) -> BackendInfo | None:
        """What was loaded last; None before the first time."""
        ...

    @property
    def fetched(self) -> Fetched | None:
        """How far the download of the model is, in `LOADING`; None where nothing has to be downloaded."""
        ...

    @property
    def memory_bytes(self) -> int:
        """The most memory the model was seen to take; 0 before the first time."""
        ...

    @property
    def lacking_bytes(self) -> int:
        """What more would have to be free, where that was why it could not be loaded last."""
        ...

    @property
    def is_idle(self) -> bool:
        """Whether nobody uses it and it has nothing to do."""
        ...

    @property
    def last_used(self) -> float:
        """When a request used it last, in seconds of the event loop's clock; 0 for never."""
        ...

    @property
    def tally(self) -> Tally:
        """What it has done so far."""
        ...

    room_bytes: int | None
    """The memory that its next worker may take; None for whatever is free."""

    def start(self) -> None:
        """Load and warm up the model; returns at once. Does nothing where that is done or under way."""
        ...

    async def loaded(self) -> None:
        """Wait until the model answers.

        Raises:
            ModelFailedError: it could not be loaded.
            UnavailableError: the host was stopped.
        """
        ...

    def in_use(self) -> AbstractContextManager[None]:
        """For the life of a request: a model in use is not unloaded."""
        ...

    def open_recogniser(self) -> Recogniser:
        """For a job that is about to begin."""
        ...

    async def unload(self) -> None:
        """Give the model's memory back, unless it is in use; the next request loads it again."""
        ...

    async def stop(self) -> None:
        """Drop what waits, give the memory back, end the worker."""
        ...


class Carrier(Protocol):
    """A worker on its way through life, in a thread or a process of its own."""

    def post(self, command: Command) -> None:
        """Hand over a command; never blocks."""
        ...

    async def stop(self) -> bool:
        """End the worker; false if it cannot be ended and still runs."""
        ...


class Launch(Protocol):
    """Starts workers of one model."""

    def __call__(
        self, on_event: Callable[[Event], None], on_end: Callable[[str], None], room_bytes: int | None, /
    ) -> Carrier:
        """A new worker.

        Args:
            on_event: Takes its events, in the event loop.
            on_end: Is told there that it has ended, and how.
            room_bytes: The memory it may take; None for whatever is free.
        """
        ...
