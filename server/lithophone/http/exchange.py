"""One request and its response, seen from outside.

Owns the request id, the headers every response carries, what a request's stages took, and the access log. Wraps the whole application, so that unknown
paths and failures are covered too. Logs no query, header or body: they may hold keys, prompts or file names.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, NamedTuple

import structlog
from litestar.datastructures import MutableScopeHeaders
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send, WebSocketScope
from structlog.contextvars import bound_contextvars

from lithophone.engine.fairness import Client
from lithophone.errors import ServiceError, ShortageError
from lithophone.http.clients import STATE_KEY as CLIENT_KEY

log = structlog.get_logger(__name__)

SECURITY_HEADERS: Final[Mapping[str, str]] = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}
"""For a browser that shows an answer as if it were a page; a route that is one sends its own."""

_SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_STATE_KEY = "exchange"


class Stage(Enum):
    """What a request for text from a recording does, one after the other."""

    UPLOAD = "upload"
    """Its body comes in."""

    QUEUE = "queue"
    """It waits for a place."""

    LOAD = "load"
    """It waits for its model to be in memory."""

    ANSWER = "answer"
    """Its audio is decoded and recognised, and the text is sent."""


class Interval(NamedTuple):
    """From when to when, on the clock of `time.perf_counter`."""

    began: float
    ended: float

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.ended - self.began


@dataclass(slots=True)
class Exchange:
    """What is known of a request so far.

    Attributes:
        request_id: Its name, here and at the client.
        started: When it came in, on the clock of `time.perf_counter`.
        started_at: The same, in seconds since 1970.
        status: Of the response, once that has begun.
        complete: The last byte of the response was sent.
        client_left: The client closed the connection before.
        audio_seconds: Length of the recording, once all of it was recognised.
        lacking: What the server's machine was short of.
        route: The path's template; empty where no route was found.
        key_name: Whose key was shown; empty without one.
        failure: The code of the error that the client was told, or its type where it has no code.
        stages: When each stage was that was left.
        decoding: From when the recording was asked for to its last piece.
        decode_seconds: Waited for the decoder; a part of `Stage.ANSWER`, in which the model is at work too.
        first_text_seconds: From the request's start to the first text of a stream.
    """

    request_id: str
    started: float = field(default_factory=time.perf_counter)
    started_at: float = field(default_factory=time.time)
    status: int | None = None
    complete: bool = False
    client_left: bool = False
    audio_seconds: float | None = None
    lacking: str = ""
    route: str = ""
    key_name: str = ""
    failure: str = ""
    stages: dict[Stage, Interval] = field(default_factory=dict[Stage, Interval])
    decoding: Interval | None = None
    decode_seconds: float | None = None
    first_text_seconds: float | None = None
    _stage: Stage | None = None
    _stage_began: float = 0.0

    @property
    def stage_seconds(self) -> dict[Stage, float]:
        """What each stage took that was left."""
        return {stage: span.seconds for stage, span in self.stages.items()}

    @property
    def elapsed_seconds(self) -> float:
        """Since the request came in."""
        return time.perf_counter() - self.started

    @property
    def elapsed_milliseconds(self) -> float:
        """Since the request came in."""
        return self.elapsed_seconds * 1000

    def enter(self, stage: Stage | None) -> None:
        """The stage before, if any, is over; None ends the last one."""
        now = time.perf_counter()
        if self._stage is not None:
            self.stages[self._stage] = Interval(self._stage_began, now)
        self._stage, self._stage_began = stage, now

    def fail(self, error: ServiceError) -> None:
        """The client is told of this error."""
        self.failure = error.code or error.type
        if isinstance(error, ShortageError):
            self.lacking = error.lacking

    def end(self, scope: HTTPScope) -> None:
        """The request is over, whichever way; its key is known now."""
        self.enter(None)
        client = scope["state"].get(CLIENT_KEY)
        if isinstance(client, Client):
            self.key_name = client.name

    def observe_send(self, message: Message) -> None:
        """Take note of a message to the client; headers are added to its start."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableScopeHeaders.from_message(message)
            headers["x-request-id"] = self.request_id
            for name, value in SECURITY_HEADERS.items():
                if name not in headers:
                    headers[name] = value
            headers["openai-processing-ms"] = str(round(self.elapsed_milliseconds))
        elif message["type"] == "http.response.body" and not message.get("more_body", False):
            self.complete = True

    def log(self, scope: HTTPScope) -> None:
        """The access log line."""
        stages = {f"{stage.value}_seconds": seconds for stage, seconds in self.stage_seconds.items()}
        seconds = {"audio_seconds": self.audio_seconds, **stages, "decode_seconds": self.decode_seconds}
        log.info(
            "request",
            method=scope["method"],
            path=scope["path"],
            status=self.status,
            milliseconds=round(self.elapsed_milliseconds, 1),
            **({"key": self.key_name} if self.key_name else {}),
            **({"failure": self.failure} if self.failure else {}),
            **({"client_left": True} if self.client_left else {}),
            **{name: round(value, 3) for name, value in seconds.items() if value is not None},
        )


def exchange_of(scope: Any) -> Exchange:
    """The exchange a request belongs to."""
    exchange = scope["state"][_STATE_KEY]
    if not isinstance(exchange, Exchange):
        raise TypeError("the scope's exchange was overwritten")
    return exchange


def observed(
    app: ASGIApp, *watchers: Callable[[Exchange], None], leaving: Callable[[], bool] = lambda: False
) -> ASGIApp:
    """`app`, with an `Exchange` around every HTTP request. `watchers` see each when it is over.

    While `leaving` says so, an answer is the last of its connection.
    """

    async def observing(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        exchange = Exchange(request_id_of(scope))
        scope.setdefault("state", {})[_STATE_KEY] = exchange

        async def observing_send(message: Message) -> None:
            exchange.observe_send(message)
            if message["type"] == "http.response.start" and leaving():
                MutableScopeHeaders.from_message(message)["connection"] = "close"
            await send(message)

        async def observing_receive() -> Any:
            message = await receive()
            if message["type"] == "http.disconnect" and not exchange.complete:
                exchange.client_left = True
            return message

        with bound_contextvars(request_id=exchange.request_id):
            try:
                await app(scope, observing_receive, observing_send)
            finally:
                exchange.end(scope)
                exchange.log(scope)
                for watch in watchers:
                    watch(exchange)

    return observing


def noting_route(app: ASGIApp) -> ASGIApp:
    """`app`, whose exchanges learn which route it found."""

    async def noting(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app(scope, receive, send)
        finally:
            if scope["type"] == "http":
                exchange_of(scope).route = scope.get("path_template", "")

    return noting


def request_id_of(scope: HTTPScope | WebSocketScope) -> str:
    """The caller's id if it is harmless in a header and a log, else a new one."""
    given = next((value for name, value in scope["headers"] if name.lower() == b"x-request-id"), b"")
    text = given.decode("latin-1")
    return text if _SANE_REQUEST_ID.fullmatch(text) else f"req_{uuid.uuid4().hex}"
