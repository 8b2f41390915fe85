"""Which models there are, and which of them may be in memory.

Owns the hosts by the names they are served under, and the wait of a request for a model that is not loaded.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from lithophone.errors import LoadingError, ModelFailedError, UnavailableError
from lithophone.hosts.base import HostState, ModelHost

LOAD_WAIT_SECONDS = 30.0


class Models:
    """The hosts of a server, the default one first.

    Args:
        hosts: One for each model.
        load_wait_seconds: How long a request waits for its model to be loaded.

    Raises:
        ValueError: there is no host, or two have one name.
    """

    def __init__(self, hosts: Sequence[ModelHost], *, load_wait_seconds: float = LOAD_WAIT_SECONDS) -> None:
        self._hosts = {host.model_id: host for host in hosts}
        if not hosts or len(self._hosts) < len(hosts):
            raise ValueError("there must be hosts, each under a name of its own")
        self._load_wait_seconds = load_wait_seconds

    @property
    def default(self) -> ModelHost:
        """The model that is loaded at start."""
        return next(iter(self._hosts.values()))

    @property
    def hosts(self) -> Sequence[ModelHost]:
        """All of them, the default one first."""
        return tuple(self._hosts.values())

    def __getitem__(self, model_id: str) -> ModelHost:
        return self._hosts[model_id]

    def start(self) -> None:
        """Load the default model; returns at once."""
        self.default.start()

    async def stop(self) -> None:
        """Stop every host."""
        await asyncio.gather(*(host.stop() for host in self._hosts.values()))

    @asynccontextmanager
    async def use(self, model_id: str) -> AsyncGenerator[ModelHost]:
        """A model that answers, for the life of a request.

        Raises:
            KeyError: there is no such model.
            LoadingError: it was not loaded in time.
            ModelFailedError: it could not be loaded.
            UnavailableError: the server is stopping.
        """
        host = self._hosts[model_id]
        with host.in_use():
            try:
                async with asyncio.timeout(self._load_wait_seconds):
                    await host.loaded()
            except TimeoutError:
                raise LoadingError(f"{host.model_id} is still being loaded; ask /ready.") from None
            yield host


def require_ready(host: ModelHost) -> None:
    """Check that a request would be answered soon; a model that is not in memory is loaded on demand.

    Raises:
        LoadingError: it is being loaded.
        ModelFailedError: it could not be loaded.
        UnavailableError: its worker has ended and another one is starting, or the server is stopping.
    """
    match host.state:
        case HostState.READY | HostState.COLD:
            return
        case HostState.LOADING:
            raise LoadingError(f"{host.model_id} is still being loaded.")
        case HostState.RESTARTING:
            raise UnavailableError(f"{host.model_id} is being started again: {host.failure}")
        case HostState.FAILED:
            raise ModelFailedError(f"The model could not be loaded: {host.failure}")
        case HostState.STOPPED:
            raise UnavailableError("The server is stopping.")
