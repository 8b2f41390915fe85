"""A response of server-sent events that owns what produces them, and the event that ends one that fails."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, aclosing
from typing import Any

from litestar import Response
from litestar.response.base import ASGIResponse
from litestar.response.streaming import ASGIStreamingResponse
from litestar.types import Receive, Scope, Send

from lithophone.formats.events import event
from lithophone.http.wire import ErrorEnvelope

HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


def error_event(error: ErrorEnvelope) -> bytes:
    """`error`: the stream ends after it, without `[DONE]`. OpenAI's SDKs raise when they read its data."""
    return event("error", error)


class EventStream(Response[bytes]):
    """Sends `events`; afterwards, however it ends, closes them and then `resources`.

    Litestar's own stream leaves a generator that waits at a `yield` to the garbage collector when the client goes, and
    never closes one that was not started.
    """

    def __init__(
        self, events: AsyncGenerator[bytes, None], resources: AsyncExitStack, headers: Mapping[str, str]
    ) -> None:
        self._all_headers = {**HEADERS, **headers}
        super().__init__(b"", media_type="text/event-stream", headers=self._all_headers)
        self._events = events
        self._resources = resources

    def to_asgi_response(self, *_: Any, **__: Any) -> ASGIResponse:
        """What Litestar calls to send the response; all it could add is known here already."""
        return _OwningStream(self._events, self._resources, self._all_headers)


class _OwningStream(ASGIStreamingResponse):
    def __init__(
        self, events: AsyncGenerator[bytes, None], resources: AsyncExitStack, headers: Mapping[str, str]
    ) -> None:
        super().__init__(  # pyright: ignore[reportUnknownMemberType] - the base leaves the iterator's items open
            iterator=events, media_type="text/event-stream", headers=dict(headers)
        )
        self._events = events
        self._resources = resources

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._resources, aclosing(self._events):
            await super().__call__(scope, receive, send)
