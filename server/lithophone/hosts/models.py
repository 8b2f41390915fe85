"""Which models there are, and which of them are in memory.

Owns the hosts by the names they are served under, the wait of a request for a model that is not loaded, and the room for
it: where memory is short, the model that was used least recently and has nothing to do is unloaded; one at work never is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress

import structlog

from lithophone.errors import LoadingError, ModelFailedError, ModelInUseError, UnavailableError
from lithophone.hosts.base import HostState, ModelHost

log = structlog.get_logger(__name__)

LOAD_WAIT_SECONDS = 30.0


_AWAY = frozenset({HostState.COLD, HostState.FAILED, HostState.STOPPED})  # takes no memory


class Models:
    """The hosts of a server, the default one first.

    Args:
        hosts: One for each model.
        load_wait_seconds: How long a request waits for its model to be loaded.
        budget_bytes: Memory that all models together may take; None leaves that to what the device has free.

    Raises:
        ValueError: there is no host, or two have one name.
    """

    def __init__(
        self,
        hosts: Sequence[ModelHost],
        *,
        load_wait_seconds: float = LOAD_WAIT_SECONDS,
        budget_bytes: int | None = None,
    ) -> None:
        self._hosts = {host.model_id: host for host in hosts}
        if not hosts or len(self._hosts) < len(hosts):
            raise ValueError("there must be hosts, each under a name of its own")
        self._load_wait_seconds = load_wait_seconds
        self._budget_bytes = budget_bytes
        self._loads: dict[str, asyncio.Task[None]] = {}
        self._one_at_a_time = asyncio.Lock()
        self._somebody_left = asyncio.Event()

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
        self.default.room_bytes = self._budget_bytes
        self.default.start()

    async def stop(self) -> None:
        """Stop every host."""
        for load in self._loads.values():
            load.cancel()
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
        try:
            with host.in_use():
                await self._loaded_in_time(host)
                yield host
        finally:
            self._somebody_left.set()

    async def load(self, model_id: str) -> ModelHost:
        """Load a model, as a request for it would, and wait no longer than that would.

        Raises:
            KeyError: there is no such model.
            ModelFailedError: it could not be loaded.
            UnavailableError: the server is stopping.
        """
        with suppress(LoadingError):
            async with self.use(model_id):
                pass
        return self._hosts[model_id]

    async def unload(self, model_id: str) -> ModelHost:
        """Give a model's memory back; the next request loads it again.

        Raises:
            KeyError: there is no such model.
            ModelInUseError: it is at work.
        """
        host = self._hosts[model_id]
        if host.state not in _AWAY and not host.is_idle:
            raise ModelInUseError(f"{model_id} is at work; try again when it has nothing to do.")
        await host.unload()
        return host

    async def _loaded_in_time(self, host: ModelHost) -> None:
        """Wait for a model whose loading goes on whoever leaves."""
        if host.state is HostState.READY:
            return
        load = self._load_of(host)
        try:
            async with asyncio.timeout(self._load_wait_seconds):
                await asyncio.shield(load)
        except TimeoutError:
            state = _doing(host) if host.fetched is not None else host.state.value
            raise LoadingError(f"{host.model_id} is not loaded yet ({state}); try again.") from None
        except asyncio.CancelledError:
            if load.cancelled():
                raise UnavailableError("The server is stopping.") from None
            raise

    def _load_of(self, host: ModelHost) -> asyncio.Task[None]:
        load = self._loads.get(host.model_id)
        if load is None or load.done():
            load = asyncio.get_running_loop().create_task(self._load(host))
            load.add_done_callback(_not_lost)
            self._loads[host.model_id] = load
        return load

    async def _load(self, host: ModelHost) -> None:
        """One model at a time, with room made for it as often as it takes; given up when nobody waits any more."""
        if host.state in {HostState.LOADING, HostState.RESTARTING}:
            await host.loaded()
            return
        async with self._one_at_a_time:
            failure: ModelFailedError | None = None
            while not host.is_idle:
                self._somebody_left.clear()
                if failure is not None and not await self._make_room(host, host.lacking_bytes):
                    _refuse_for_ever_too_large(host, self._others_in_memory(host), failure)
                    await self._somebody_left.wait()
                    continue
                host.room_bytes = await self._room_for(host)
                try:
                    await host.loaded()
                except ModelFailedError as error:
                    if not host.lacking_bytes or not self._others_in_memory(host):
                        raise
                    failure = error
                else:
                    return
        raise LoadingError(f"Nobody waits for {host.model_id} any more.")

    async def _room_for(self, host: ModelHost) -> int | None:
        """What is left of the budget, as much of it as the model is known to take."""
        if self._budget_bytes is None:
            return None
        await self._make_room(host, host.memory_bytes - self._room_bytes(host, self._budget_bytes))
        return self._room_bytes(host, self._budget_bytes)

    def _room_bytes(self, host: ModelHost, budget_bytes: int) -> int:
        return max(0, budget_bytes - sum(other.memory_bytes for other in self._others_in_memory(host)))

    def _others_in_memory(self, host: ModelHost) -> list[ModelHost]:
        """The other models that take memory, those used least recently first."""
        others = [one for one in self._hosts.values() if one is not host and one.state not in _AWAY]
        return sorted(others, key=lambda one: one.last_used)

    async def _make_room(self, host: ModelHost, lacking_bytes: int) -> bool:
        """Unload models that have nothing to do until so much is free; whether any was."""
        unloaded = False
        for other in self._others_in_memory(host):
            if lacking_bytes <= 0:
                break
            if other.state is HostState.READY and other.is_idle:
                log.info("making_room", model=other.model_id, wanted_by=host.model_id)
                await other.unload()
                lacking_bytes -= other.memory_bytes
                unloaded = True
        return unloaded


def _not_lost(load: asyncio.Task[None]) -> None:
    """Whoever waits hears of a failure; nobody may be there to."""
    if not load.cancelled():
        load.exception()


def _refuse_for_ever_too_large(
    host: ModelHost, others: Sequence[ModelHost], failure: ModelFailedError
) -> None:
    """Check that a model would fit once the others have done.

    Raises:
        ModelFailedError: it would not; says what they take.
    """
    taken = sum(other.memory_bytes for other in others)
    if taken < host.lacking_bytes:
        held = ", ".join(f"{other.model_id} {other.memory_bytes / 1e9:.1f} GB" for other in others)
        raise ModelFailedError(f"{failure.message} Beside it: {held}.")


def _doing(host: ModelHost) -> str:
    """What is done with a model that is on its way into memory."""
    return "loaded" if host.fetched is None else f"downloaded: {host.fetched}"


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
            raise LoadingError(f"{host.model_id} is still being {_doing(host)}.")
        case HostState.RESTARTING:
            raise UnavailableError(f"{host.model_id} is being started again: {host.failure}")
        case HostState.FAILED:
            raise ModelFailedError(f"The model could not be loaded: {host.failure}")
        case HostState.STOPPED:
            raise UnavailableError("The server is stopping.")
