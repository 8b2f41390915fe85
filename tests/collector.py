"""A collector of traces on this machine: takes what is sent by OTLP over HTTP, and keeps it."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class KeptSpan(NamedTuple):
    """A span as it came; times in nanoseconds since 1970."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    began: int
    ended: int
    attributes: dict[str, Any]
    is_error: bool


@dataclass
class Collector:
    """What has come so far."""

    url: str
    reads: bool = True
    spans: list[KeptSpan] = field(default_factory=list[KeptSpan])
    resources: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    bodies: list[bytes] = field(default_factory=list[bytes])

    def of(self, trace_id: str) -> dict[str, list[KeptSpan]]:
        """The spans of a trace, by name."""
        found: dict[str, list[KeptSpan]] = {}
        for span in list(self.spans):
            if span.trace_id == trace_id:
                found.setdefault(span.name, []).append(span)
        return found

    def take(self, path: str, body: bytes) -> None:
        """Parse a request's body."""
        assert path == "/v1/traces"
        if not self.reads:
            return
        self.bodies.append(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resources.append(_plain(resource.resource.attributes))
            for scope in resource.scope_spans:
                self.spans += [_kept(span) for span in scope.spans]


def _plain(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}


def _kept(span: Any) -> KeptSpan:
    return KeptSpan(
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        _plain(span.attributes),
        span.status.code == 2,
    )


@contextmanager
def collecting(*, reads: bool = True) -> Iterator[Collector]:
    """A collector on a free port; without `reads` it takes what comes and forgets it."""

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            collector.take(self.path, gzip.decompress(body) if self.headers["content-encoding"] else body)
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Nothing: tests read what has come."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Door) as server:
        collector = Collector(f"http://127.0.0.1:{server.server_address[1]}", reads)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield collector
        finally:
            server.shutdown()
            thread.join()
