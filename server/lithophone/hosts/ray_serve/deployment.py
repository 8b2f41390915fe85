"""What a host asks of the cluster, and how a model is spread over it. Knows no Ray."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

import msgspec

from lithophone.backends.base import BackendInfo
from lithophone.granite.family import ModelSpec
from lithophone.hosts.description import WorkerDescription
from lithophone.worker.messages import Recognise, Recognised

T_co = TypeVar("T_co", covariant=True)


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """A model for replicas: the name it is served under, what it is, and how its worker is made."""

    model_id: str
    spec: ModelSpec
    description: WorkerDescription


class Scale(msgspec.Struct, frozen=True, kw_only=True):
    """How a model is spread over a cluster.

    Attributes:
        min_replicas: Replicas that there are always.
        max_replicas: Replicas that there are under load.
        queued_seconds: Audio that waits at a replica or is at work there, beyond which there should be more of them.
        gpus: GPUs of each; below 1, replicas share one.
        cpus: CPU cores of each.
        idle_seconds: Without work for so long the last ones are ended too, and a request starts them again; 0 keeps them.
    """

    min_replicas: int = 1
    max_replicas: int = 1
    queued_seconds: float = 300.0
    gpus: float = 0.0
    cpus: float = 1.0
    idle_seconds: float = 0.0

    @property
    def least_replicas(self) -> int:
        """Replicas without any work."""
        return 0 if self.idle_seconds > 0 else self.min_replicas


class ReplicaLostError(Exception):
    """The replica ended before it answered, with its process or its machine. Not an error of what it was asked.

    Attributes:
        replica: Which one it was.
    """

    def __init__(self, message: str, replica: str) -> None:
        super().__init__(message)
        self.replica = replica


class CallCancelledError(Exception):
    """The call was taken back by whoever made it."""


class Seen(msgspec.Struct, frozen=True):
    """A deployment as the cluster sees it now.

    Attributes:
        exists: It was deployed, by whichever server.
        replicas: How many answer.
        failure: Why there are none and will be none, in words for whoever runs the server.
        trouble: What keeps it from having as many as it should; it goes on trying.
    """

    exists: bool
    replicas: int = 0
    failure: str | None = None
    trouble: str | None = None


class Call(Protocol[T_co]):
    """A call of a replica that is under way."""

    async def answer(self) -> T_co:
        """Wait for it.

        Raises:
            ReplicaLostError: the replica ended first.
            CallCancelledError: the call was taken back.
            ServiceError: what the replica raised.
        """
        ...

    def cancel(self) -> None:
        """Take it back: the replica is told to stop."""
        ...


class Deployment(Protocol):
    """A model's replicas. Methods that are not calls block, and belong into a thread."""

    @property
    def scale(self) -> Scale:
        """How many there may be."""
        ...

    def connect(self) -> None:
        """Connect to the cluster, or start one.

        Raises:
            StartupError: there is no cluster, or it cannot be used.
        """
        ...

    def deploy(self) -> None:
        """See to it that the replicas are started there; does nothing where they run already."""
        ...

    def look(self) -> Seen:
        """What there is now."""
        ...

    def remove(self) -> None:
        """End all replicas; what they are at is finished first."""
        ...

    def leave(self) -> None:
        """Let go of the cluster; ends it where this process has started it."""
        ...

    def describe(self) -> Call[BackendInfo]:
        """What a replica has loaded; waits until there is one."""
        ...

    def recognise(self, message: Recognise) -> Call[Recognised]:
        """One window, at one of the replicas; waits until there is one."""
        ...


def last_words(message: str, markers: Sequence[str]) -> str:
    """The last line of a traceback that begins with a module's name and one of `markers`, without both; else all of it."""
    for line in reversed(message.splitlines()):
        for marker in markers:
            _, found, words = line.partition(f"{marker}: ")
            if found and words:
                return words.strip()
    return message.strip()
