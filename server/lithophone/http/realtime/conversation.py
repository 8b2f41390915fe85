"""One live session over its socket.

Owns what becomes of each frame, the order in which events leave, and the ways a session ends: each in one event or one
close code, with nothing left behind. Knows no transcription: that is `lithophone.engine.dictation`.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, cast

import msgspec
import structlog
from litestar.exceptions import WebSocketDisconnect

from lithophone.audio.incoming import IncomingAudio
from lithophone.backends.base import VoiceDetector
from lithophone.engine.dictation.events import Completed, DictationEvent, NothingToCommit
from lithophone.engine.dictation.session import LiveSession
from lithophone.engine.understanding import doubts_about
from lithophone.errors import InternalError, ServiceError, SessionExpiredError, SessionIdleError
from lithophone.hosts.base import ModelHost
from lithophone.hosts.models import Models
from lithophone.http.catalogue import Catalogue
from lithophone.http.errors import INTERNAL_MESSAGE, log_internal
from lithophone.http.realtime.client_events import (
    Append,
    Clear,
    ClientEvent,
    Commit,
    SessionUpdate,
    event_id_of,
    parse,
)
from lithophone.http.realtime.configuration import Configuration, Json, from_beta, merged, read
from lithophone.http.realtime.documents import Extras, Session, beta_document, session_document
from lithophone.http.realtime.places import LivePlaces
from lithophone.http.realtime.server_events import (
    BetaSessionCreated,
    BetaSessionUpdated,
    ServerEvent,
    SessionCreated,
    SessionUpdated,
    TranscriptCompleted,
    error_event,
    wire_events,
)
from lithophone.http.realtime.wishes import dictation_options, warnings_for

log = structlog.get_logger(__name__)

MOST_UNSENT_EVENTS: Final = 4_096
SEND_SECONDS: Final = 20.0  # a client that reads nothing for so long is given up
FAREWELL_SECONDS: Final = 5.0

CLOSE_DONE: Final = 1000
CLOSE_NOT_READ: Final = 1008
CLOSE_BROKEN: Final = 1011
CLOSE_RESTART: Final = 1012


@dataclass(eq=False)
class Ending(Exception):  # noqa: N818 - most ends are no errors
    """Why a session ends. A client that has left is told nothing."""

    code: int
    reason: str
    error: ServiceError | None = None
    client_left: bool = False


class Limits(NamedTuple):
    """How long a client may send nothing, and how long a session may last."""

    idle_seconds: float
    session_seconds: float


class Socket(NamedTuple):
    """An accepted socket: the two functions of ASGI."""

    receive: Callable[[], Any]
    send: Callable[[Any], Any]


class Conversation:
    """A session from its first event to its last.

    Args:
        socket: Where it happens.
        models: What hears.
        catalogue: Their names.
        voice: Tells voice from silence.
        limits: When it ends.
        places: Among which it has one; they know when the server is about to end.
        document: What is set in it from the start.
        beta: Whether the client speaks the beta's names.

    Raises:
        ServiceError: the document makes no sense.
    """

    def __init__(
        self,
        socket: Socket,
        *,
        models: Models,
        catalogue: Catalogue,
        voice: VoiceDetector,
        limits: Limits,
        places: LivePlaces,
        document: Json,
        beta: bool,
    ) -> None:
        self._socket = socket
        self._models = models
        self._catalogue = catalogue
        self._limits = limits
        self._draining = places.draining
        self._document = document
        self._configuration = read(document)
        self._beta = beta
        self._id = secrets.token_hex(12)
        self._expires_at = int(time.time() + limits.session_seconds)
        self._host = self._named_host(self._configuration)
        self._incoming = IncomingAudio(self._configuration.audio.input.incoming)
        self._outgoing: asyncio.Queue[ServerEvent | Completed] = asyncio.Queue(MOST_UNSENT_EVENTS)
        self._sent = 0
        self._items = 0
        self._answering: str | None = None
        self._live = LiveSession(
            models,
            voice,
            dictation_options(self._configuration, self._host),
            tell=self._told,
            new_id=self._new_item_id,
            lagged=places.lags.add,
        )

    async def run(self) -> None:
        """Talk until either side has enough."""
        began = time.monotonic()
        ending = await self._talk()
        await self._part(ending)
        log.info(
            "live_session",
            seconds=round(time.monotonic() - began, 1),
            audio_seconds=round(self._live.seconds, 1),
            items=self._items,
            code=ending.code,
            reason=ending.reason,
        )

    async def _talk(self) -> Ending:
        self._tell_session(SessionCreated, BetaSessionCreated)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._live.run())
                tasks.create_task(self._write())
                tasks.create_task(self._expire())
                tasks.create_task(self._read())
        except BaseExceptionGroup as failures:
            return _ending(failures)
        raise AssertionError("a session ends by an `Ending` alone")

    async def _expire(self) -> None:
        await asyncio.sleep(self._limits.session_seconds)
        minutes = self._limits.session_seconds / 60
        raise Ending(
            CLOSE_DONE,
            "expired",
            SessionExpiredError(f"The session has reached its longest time, {minutes:g} minutes."),
        )

    async def _read(self) -> None:
        draining = asyncio.create_task(self._draining.wait())
        try:
            while (frame := await self._next_frame(draining)) is not None:
                await self._take(frame)
        finally:
            draining.cancel()
        await self._wind_up()

    async def _next_frame(self, draining: asyncio.Task[Any]) -> str | bytes | None:
        """What the client sends next; None when the server is about to end."""
        receiving = asyncio.ensure_future(self._socket.receive())
        try:
            await asyncio.wait(
                {receiving, draining},
                timeout=self._limits.idle_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if draining.done():
                return None
            if not receiving.done():
                seconds = self._limits.idle_seconds
                raise Ending(CLOSE_DONE, "idle", SessionIdleError(f"Nothing came for {seconds:g} seconds."))
            message = receiving.result()
        finally:
            receiving.cancel()
        if message["type"] != "websocket.receive":
            raise Ending(message.get("code", CLOSE_DONE), message.get("reason") or "", client_left=True)
        return message.get("text") or message.get("bytes") or ""

    async def _take(self, frame: str | bytes) -> None:
        try:
            await self._obey(parse(frame), frame)
        except ServiceError as error:
            self._put(error_event(error, event_id_of(frame)))

    async def _obey(self, event: ClientEvent, frame: str | bytes) -> None:
        match event:
            case Append(audio):
                await self._live.append(self._incoming.push(audio))
            case Commit():
                self._answering = event_id_of(frame)
                await self._live.append(self._incoming.flush())
                await self._live.commit()
            case Clear():
                self._incoming.flush()
                await self._live.clear()
            case SessionUpdate():
                await self._update(event)

    async def _update(self, event: SessionUpdate) -> None:
        document = merged(self._document, from_beta(event.session))
        configuration = read(document)
        host = self._named_host(configuration)
        if configuration.audio.input.incoming != self._configuration.audio.input.incoming:
            await self._live.append(self._incoming.flush())
            self._incoming = IncomingAudio(configuration.audio.input.incoming)
        self._document, self._configuration, self._host = document, configuration, host
        self._beta = self._beta or event.beta
        self._live.configure(dictation_options(configuration, host))
        self._tell_session(SessionUpdated, BetaSessionUpdated)

    def _named_host(self, configuration: Configuration) -> ModelHost:
        name = configuration.transcription.model
        return self._models.default if name is None else self._models[self._catalogue.resolve(name)]

    async def _wind_up(self) -> None:
        """What was said so far is told before the server ends."""
        await self._live.append(self._incoming.flush())
        await self._live.commit()
        await self._live.finish()
        await self._outgoing.join()
        raise Ending(CLOSE_RESTART, "The server is shutting down.")

    def _told(self, event: DictationEvent) -> None:
        """The engine says something."""
        if isinstance(event, NothingToCommit) and self._draining.is_set():
            return  # nobody asked
        if isinstance(event, Completed):
            self._put(event)  # whoever sends it asks for its language first
            return
        for wire in self._wired(event):
            self._put(wire)

    def _wired(self, event: DictationEvent) -> list[ServerEvent]:
        return wire_events(
            event,
            beta=self._beta,
            logprobs=self._configuration.logprobs,
            event_id=self._answering,
        )

    def _doubted(self, wire: ServerEvent, heard: Completed) -> ServerEvent:
        """What a demonstration model says of a turn that it did not understand."""
        doubts = doubts_about(self._host.spec, (heard,))
        if not doubts or not isinstance(wire, TranscriptCompleted):
            return wire
        log.warning("not_understood", model=self._host.model_id)
        return msgspec.structs.replace(wire, lithophone=Extras(warnings=doubts))

    def _tell_session(
        self,
        event: type[SessionCreated | SessionUpdated],
        beta_event: type[BetaSessionCreated | BetaSessionUpdated],
    ) -> None:
        session = self._session()
        if self._beta:
            self._put(beta_event(session=beta_document(session)))
        else:
            self._put(event(session=session))

    def _session(self) -> Session:
        return session_document(
            f"sess_{self._id}",
            self._expires_at,
            self._configuration,
            model_id=self._host.model_id,
            warnings=warnings_for(self._configuration, self._host.spec),
        )

    def _put(self, event: ServerEvent | Completed) -> None:
        try:
            self._outgoing.put_nowait(event)
        except asyncio.QueueFull:
            raise _not_read() from None

    async def _write(self) -> None:
        while True:
            event = await self._outgoing.get()
            await self._send(event)
            self._outgoing.task_done()

    async def _send(self, event: ServerEvent | Completed) -> None:
        if isinstance(event, Completed):
            for wire in self._wired(await self._live.with_language(event)):
                await self._send_wire(self._doubted(wire, event))
        else:
            await self._send_wire(event)

    async def _send_wire(self, event: ServerEvent) -> None:
        self._sent += 1
        named = msgspec.structs.replace(event, event_id=f"event_{self._id}_{self._sent}")
        text = msgspec.json.encode(named).decode()
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await self._socket.send({"type": "websocket.send", "text": text})
        except TimeoutError:
            raise _not_read() from None
        except (OSError, WebSocketDisconnect):
            raise Ending(CLOSE_DONE, "the client left", client_left=True) from None

    async def _part(self, ending: Ending) -> None:
        """Send what waits, the reason if there is one, and close; not for long."""
        if ending.client_left:
            return
        try:
            async with asyncio.timeout(FAREWELL_SECONDS):
                while ending.code != CLOSE_NOT_READ and not self._outgoing.empty():
                    await self._send(self._outgoing.get_nowait())
                if ending.error is not None:
                    await self._send_wire(error_event(ending.error))
                await self._socket.send(
                    {"type": "websocket.close", "code": ending.code, "reason": ending.reason}
                )
        except (TimeoutError, OSError, WebSocketDisconnect, Ending):
            return

    def _new_item_id(self) -> str:
        self._items += 1
        return f"item_{self._id}_{self._items}"


def _not_read() -> Ending:
    return Ending(CLOSE_NOT_READ, "The events are not read.")


def _ending(failures: BaseExceptionGroup[BaseException]) -> Ending:
    """The first reason to end; anything else that went wrong is ours, and the log has it."""
    found = list(_leaves(failures))
    endings = [error for error in found if isinstance(error, Ending)]
    if len(endings) == len(found):
        return endings[0]
    for error in found:
        if isinstance(error, Exception) and not isinstance(error, Ending):
            log_internal(error)
    return Ending(CLOSE_BROKEN, "internal error", InternalError(INTERNAL_MESSAGE))


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if not isinstance(error, BaseExceptionGroup):
        yield error
        return
    for part in cast("BaseExceptionGroup[BaseException]", error).exceptions:
        yield from _leaves(part)
