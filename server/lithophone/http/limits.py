"""The time a request may take, from its first byte to the last one of its answer.

Owns how the end of that time reaches the client: as an error with a status while the answer has not begun, as the last
event of a stream that has. Wraps the whole application, so that slow senders and readers are covered too.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

import msgspec
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from lithophone.engine.deadlines import Deadlines
from lithophone.errors import DeadlineError, DrainingError, ServiceError
from lithophone.http.errors import envelope, log_internal, service_error
from lithophone.http.event_stream import error_event
from lithophone.http.exchange import exchange_of

LAST_WORDS_SECONDS: Final = 1.0  # for a client that does not read


class _Answer:
    """How far the answer has come."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False
        self.complete = False
        self.is_event_stream = False

    async def send(self, message: Message) -> None:
        """Pass a message on, and take note of it."""
        if message["type"] == "http.response.start":
            self.started = True
            self.is_event_stream = any(
                name.lower() == b"content-type" and value.startswith(b"text/event-stream")
                for name, value in message["headers"]
            )
        elif message["type"] == "http.response.body" and not message.get("more_body", False):
            self.complete = True
        await self._send(message)

    async def end(self, error: ServiceError) -> None:
        """Tell the client in the way that is left; a body that was cut is left without its end."""
        if self.complete or (self.started and not self.is_event_stream):
            return
        if self.started:
            await self._send(
                {"type": "http.response.body", "body": error_event(envelope(error)), "more_body": False}
            )
            return
        await send_error(self._send, error)


async def send_error(send: Send, error: ServiceError) -> None:
    """A whole response, for what happens outside of Litestar."""
    headers = {"content-type": "application/json", "connection": "close"} | error.headers
    await send(
        {
            "type": "http.response.start",
            "status": error.status,
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        }
    )
    await send(
        {
            "type": "http.response.body",
            "body": msgspec.json.encode(envelope(error)),
            "more_body": False,
        }
    )


def limited(app: ASGIApp, deadlines: Deadlines) -> ASGIApp:
    """`app`, each of whose HTTP requests ends in time."""

    async def limiting(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        answer = _Answer(send)
        try:
            async with deadlines.limited():
                await app(scope, receive, answer.send)
        except (DeadlineError, DrainingError) as error:
            exchange_of(scope).fail(error)
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORDS_SECONDS):
                    await answer.end(error)
        except Exception as failure:
            if answer.started:
                raise
            log_internal(failure)
            error = service_error(failure)
            exchange_of(scope).fail(error)
            await answer.end(error)

    return limiting
