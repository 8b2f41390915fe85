"""Traces of requests: one span for the request, one for each stage, and those of every window in its model's process.

Owns which spans there are and what stands in them: methods, routes, statuses, models, durations. Never audio, text, prompts,
names of files or keys. Needs the extra `otel`; `lithophone.http.telemetry` opens what the spans go to.
Sources: https://www.w3.org/TR/trace-context/ (`traceparent`), https://www.w3.org/TR/trace-context-2/ (`traceresponse`), and
https://opentelemetry.io/docs/specs/semconv/http/http-spans/ for the names of attributes.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from litestar.datastructures import MutableScopeHeaders
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send, WebSocketScope
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, format_trace_id, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from structlog.contextvars import bound_contextvars

from lithophone.errors import ServiceError
from lithophone.hosts.courses import WATCHER, WindowCourse
from lithophone.http.exchange import Exchange, exchange_of
from lithophone.http.telemetry import Traced

TRACED_PATHS: Final = "/v1/"
"""Probes and `/metrics` are asked every few seconds, and nothing happens in them."""

METHODS: Final = frozenset({"GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"})
TRACE_PARENT: Final = "traceparent"
TRACE_HEADERS: Final = frozenset({b"traceparent", b"tracestate"})
TRACE_RESPONSE: Final = "traceresponse"
NANOSECONDS: Final = 1_000_000_000

Attributes = Mapping[str, str | int | float | bool]
_W3C: Final = TraceContextTextMapPropagator()


class Trace:
    """The spans of one request, within that of its client where it named one.

    Args:
        tracer: Takes the spans.
        name: What is asked for: a method, or a door.
        parent: The client's.
    """

    def __init__(self, tracer: Tracer, name: str, parent: Context | None = None) -> None:
        self._tracer = tracer
        self._name = name
        self.root = tracer.start_span(name, context=parent or Context(), kind=SpanKind.SERVER)
        self._inside = set_span_in_context(self.root)

    @property
    def id(self) -> str:
        """Of the trace, as it is written."""
        return format_trace_id(self.root.get_span_context().trace_id)

    @property
    def header(self) -> str:
        """The request's own span, for its client."""
        carrier: dict[str, str] = {}
        _W3C.inject(carrier, self._inside)
        return carrier[TRACE_PARENT]

    def add_window(self, window: WindowCourse) -> None:
        """A window from when it was sent to its model until its words were there."""
        course = window.course
        joined = course.joined_at
        attributes: Attributes = {
            "lithophone.model": window.model_id,
            "lithophone.audio_seconds": window.audio_seconds,
            "lithophone.tokens": window.tokens,
        }
        span = self._start("window", window.posted_at, self._inside, attributes)
        inside = set_span_in_context(span)
        self._add("wait", (window.posted_at, joined), inside)
        where: Attributes = {"process.pid": course.process_id}
        self._add("hear", (joined + course.hearing, joined + course.decoding), inside, where)
        self._add("decode_tokens", (joined + course.decoding, joined + course.answering), inside, where)
        self._add("answer", (joined + course.answering, joined + course.answered), inside, where)
        span.end(_nanoseconds(joined + course.answered))

    def add_exchange(self, exchange: Exchange) -> None:
        """The request is over: its stages, and what came of it."""
        since_1970 = exchange.started_at - exchange.started
        times = {stage.value: interval for stage, interval in exchange.stages.items()}
        if exchange.decoding is not None:
            times["decode"] = exchange.decoding
        for name, interval in times.items():
            self._add(name, (since_1970 + interval.began, since_1970 + interval.ended), self._inside)
        self.root.set_attributes({"http.request.method": self._name, **_outcome(exchange)})
        if exchange.route:
            self.root.update_name(f"{self._name} {exchange.route}")
        if exchange.status is not None and exchange.status >= 500:
            self.root.set_status(StatusCode.ERROR)

    def add_failure(self, error: ServiceError) -> None:
        """The client was told of an error, by another way than a status of HTTP."""
        self.root.set_attribute("error.type", error.code or error.type)
        if error.status >= 500:
            self.root.set_status(StatusCode.ERROR)

    def _add(
        self, name: str, times: tuple[float, float], inside: Context, attributes: Attributes | None = None
    ) -> None:
        self._start(name, times[0], inside, attributes).end(_nanoseconds(times[1]))

    def _start(self, name: str, began: float, inside: Context, attributes: Attributes | None) -> Span:
        return self._tracer.start_span(name, inside, attributes=attributes, start_time=_nanoseconds(began))


class Tracing(Traced):
    """See `Traced`; lines in the log name the trace as `trace_id`."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def __call__(self, app: ASGIApp) -> ASGIApp:
        """See `Traced`; live sessions are traced as well."""

        async def tracing(scope: Scope, receive: Receive, send: Send) -> None:
            if not _is_traced(scope):
                await app(scope, receive, send)
                return
            trace = Trace(self._tracer, _method(scope), _parent(scope))

            async def tracing_send(message: Message) -> None:
                if message["type"] == "http.response.start":
                    MutableScopeHeaders.from_message(message)[TRACE_RESPONSE] = trace.header
                await send(message)

            with _watching(trace), _telling(trace, scope):
                await app(scope, receive, tracing_send)

        return tracing

    @contextmanager
    def transcript(self, door: str) -> Generator[None]:
        """See `Traced`."""
        trace = Trace(self._tracer, f"{door} transcript")
        with _watching(trace):
            try:
                yield
            except ServiceError as error:
                trace.add_failure(error)
                raise


@contextmanager
def _watching(trace: Trace) -> Generator[None]:
    """Windows are told to the trace, which ends with the context."""
    before = WATCHER.set(trace.add_window if trace.root.is_recording() else None)
    try:
        with bound_contextvars(trace_id=trace.id):
            yield
    finally:
        WATCHER.reset(before)
        trace.root.end()


@contextmanager
def _telling(trace: Trace, scope: Scope) -> Generator[None]:
    """At its end the exchange is told to the trace."""
    try:
        yield
    finally:
        if scope["type"] == "http" and trace.root.is_recording():
            trace.add_exchange(exchange_of(scope))


def _is_traced(scope: Scope) -> bool:
    return scope["type"] in {"http", "websocket"} and scope["path"].startswith(TRACED_PATHS)


def _parent(scope: HTTPScope | WebSocketScope) -> Context:
    """What the client says of its trace; a header that is none is nothing."""
    return _W3C.extract(
        {name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in TRACE_HEADERS}
    )


def _method(scope: HTTPScope | WebSocketScope) -> str:
    """One that somebody thought up is called what the conventions call it."""
    if scope["type"] == ScopeType.WEBSOCKET:
        return "live session"
    return scope["method"] if scope["method"] in METHODS else "_OTHER"


def _outcome(exchange: Exchange) -> dict[str, Any]:
    known = {
        "http.route": exchange.route or None,
        "http.response.status_code": exchange.status,
        "error.type": exchange.failure or None,
        "lithophone.request_id": exchange.request_id,
        "lithophone.audio_seconds": exchange.audio_seconds,
        "lithophone.client_left": exchange.client_left or None,
    }
    return {name: value for name, value in known.items() if value is not None}


def _nanoseconds(seconds: float) -> int:
    return round(seconds * NANOSECONDS)
