"""One request and its response, seen from outside.

Owns the request id, the headers every response carries and the access log. Wraps the whole application, so that unknown
paths and failures are covered too. Logs no query, header or body: they may hold keys, prompts or file names.
"""

from __future__ import annotations

import re
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

import structlog
from litestar.datastructures import MutableScopeHeaders
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send, WebSocketScope
from structlog.contextvars import bound_contextvars

log = structlog.get_logger(__name__)

_SANE_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
_STATE_KEY = "exchange"


@dataclass(slots=True)
class Exchange:
    """What is known of a request so far. The route adds `audio_seconds`."""

    request_id: str
    started: float = field(default_factory=time.perf_counter)
    status: int | None = None
    complete: bool = False
    client_left: bool = False
    audio_seconds: float | None = None

    @property
    def elapsed_milliseconds(self) -> float:
        """Since the request came in."""
        return (time.perf_counter() - self.started) * 1000

    def observe_send(self, message: Message) -> None:
        """Take note of a message to the client; headers are added to its start."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableScopeHeaders.from_message(message)
            headers["x-request-id"] = self.request_id
            headers["openai-processing-ms"] = str(round(self.elapsed_milliseconds))
        elif message["type"] == "http.response.body" and not message.get("more_body", False):
            self.complete = True

    def log(self, scope: HTTPScope) -> None:
        """The access log line."""
        seconds = {} if self.audio_seconds is None else {"audio_seconds": round(self.audio_seconds, 3)}
        log.info(
            "request",
            method=scope["method"],
            path=scope["path"],
            status=self.status,
            milliseconds=round(self.elapsed_milliseconds, 1),
            **({"client_left": True} if self.client_left else {}),
            **seconds,
        )


def exchange_of(scope: Any) -> Exchange:
    """The exchange a request belongs to."""
    exchange = scope["state"][_STATE_KEY]
    if not isinstance(exchange, Exchange):
        raise TypeError("the scope's exchange was overwritten")
    return exchange


def observed(app: ASGIApp) -> ASGIApp:
    """`app`, with an `Exchange` around every HTTP request."""

    async def observing(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        exchange = Exchange(request_id_of(scope))
        scope.setdefault("state", {})[_STATE_KEY] = exchange

        async def observing_send(message: Message) -> None:
            exchange.observe_send(message)
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
                exchange.log(scope)

    return observing


def request_id_of(scope: HTTPScope | WebSocketScope) -> str:
    """The caller's id if it is harmless in a header and a log, else a new one."""
    given = next((value for name, value in scope["headers"] if name.lower() == b"x-request-id"), b"")
    text = given.decode("latin-1")
    return text if _SANE_REQUEST_ID.fullmatch(text) else f"req_{uuid.uuid4().hex}"
