"""Traces: what one request leaves behind, and what of it must never leave the machine."""

from __future__ import annotations

import builtins
import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import httpx
import psutil
import pytest
from structlog.testing import capture_logs

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra otel is not installed")

from lithophone.backends.base import Answer, Backend, RecognitionRequest
from lithophone.backends.fake import FakeBackend, FakeBatch, LoudnessDetector
from lithophone.errors import ConfigurationError
from lithophone.http.options import HttpOptions
from lithophone.http.telemetry import traces, untraced
from tests.collector import Collector, KeptSpan, collecting
from tests.conftest import ROOT, start_server
from tests.http.conftest import SHORT, SPEC, THREE_WINDOWS, Live, error_of, eventually, serving

CLIENT_TRACE = "0af7651916cd43dd8448eb211c80319c"
CLIENT_SPAN = "b7ad6b7169203331"
PARENT = {"traceparent": f"00-{CLIENT_TRACE}-{CLIENT_SPAN}-01"}
ROUTE = "POST /v1/audio/transcriptions"
REQUEST_SPANS = ("upload", "queue", "load", "answer", "decode")
WINDOW_SPANS = ("wait", "hear", "decode_tokens", "answer")


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        yield collector


@pytest.fixture
def live(collector: Collector) -> Iterator[Live]:
    del collector  # named in the environment
    with (
        traces(os.environ) as traced,
        serving(traced=traced, voice=LoudnessDetector(), options=HttpOptions(api_keys=("hush-1",))) as live,
    ):
        live.client.headers["authorization"] = "Bearer hush-1"
        yield live


def trace_of(response: httpx.Response) -> str:
    version, trace, span, flags = response.headers["traceresponse"].split("-")
    assert (version, len(trace), len(span)) == ("00", 32, 16)
    assert int(flags, 16) & 1  # it is kept
    return trace


def come(collector: Collector, trace: str, name: str = ROUTE) -> dict[str, list[KeptSpan]]:
    """The spans of a trace, once that of the request has come, which is the last to end."""
    eventually(lambda: name in collector.of(trace))
    return collector.of(trace)


def test_a_request_leaves_a_span_for_each_stage_inside_its_clients(live: Live, collector: Collector) -> None:
    response = live.transcribe(headers=PARENT)
    assert trace_of(response) == CLIENT_TRACE
    spans = come(collector, CLIENT_TRACE)
    (root,) = spans[ROUTE]
    assert root.parent_id == CLIENT_SPAN
    assert root.attributes["http.response.status_code"] == 200
    assert root.attributes["lithophone.audio_seconds"] == 1.0
    assert root.attributes["lithophone.request_id"] == response.headers["x-request-id"]
    (window,) = spans["window"]
    assert window.attributes["lithophone.model"] == SPEC.id
    for name, parent in [
        *((name, root) for name in REQUEST_SPANS),
        *((name, window) for name in WINDOW_SPANS),
    ]:
        (span,) = [one for one in spans[name] if one.parent_id == parent.span_id]
        assert root.began <= span.began <= span.ended <= root.ended + 1_000_000, name
    assert window.parent_id == root.span_id
    assert sum(map(len, spans.values())) == 2 + len(REQUEST_SPANS) + len(WINDOW_SPANS)
    assert collector.resources[0]["service.name"] == "lithophone"


def test_every_window_and_every_way_of_answering_is_in_the_trace(live: Live, collector: Collector) -> None:
    for fields in ({}, {"stream": "true"}):
        spans = come(collector, trace_of(live.transcribe(THREE_WINDOWS, **fields)))
        assert len(spans["window"]) == 3
        assert len(spans["hear"]) == 3
        assert all(one.attributes["process.pid"] == os.getpid() for one in spans["hear"])


def test_nothing_private_is_sent(live: Live, collector: Collector) -> None:
    live.script.hear = lambda _: "unspeakable"
    live.client.post(
        "/v1/audio/transcriptions?hidden=query",
        files={"file": ("secret-name.wav", SHORT)},
        data={"model": "whisper-1", "prompt": "confidential"},
    )
    live.client.request("BREW", "/v1/made/up/path")
    eventually(lambda: {"_OTHER", ROUTE} <= {span.name for span in collector.spans})
    sent = b"".join(collector.bodies)
    assert ROUTE.encode() in sent
    for private in (b"unspeakable", b"secret-name", b"confidential", b"hidden", b"hush", b"made/up", b"BREW"):
        assert private not in sent


def test_what_fails_says_so(live: Live, collector: Collector) -> None:
    def breaks(_: RecognitionRequest) -> str:
        raise RuntimeError("private")

    response = live.transcribe(model="nobody")
    error_of(response, 404)
    (root,) = come(collector, trace_of(response))[ROUTE]
    assert (root.attributes["error.type"], root.is_error) == ("model_not_found", False)
    live.script.hear = breaks
    response = live.transcribe()
    error_of(response, 500)
    (root,) = come(collector, trace_of(response))[ROUTE]
    assert (root.attributes["http.response.status_code"], root.is_error) == (500, True)
    assert b"private" not in b"".join(collector.bodies)


def test_the_log_names_the_trace_and_probes_leave_none(live: Live, collector: Collector) -> None:
    with capture_logs() as logs:
        assert "traceresponse" not in live.client.get("/health").headers
        trace = trace_of(live.client.get("/v1/models", headers={"traceparent": "nonsense"}))
        eventually(lambda: len(logs) >= 2)
    assert come(collector, trace, "GET /v1/models")
    assert {span.name for span in collector.spans} == {"GET /v1/models"}


def test_a_client_that_wants_no_trace_leaves_none(live: Live, collector: Collector) -> None:
    unsampled = f"00-{CLIENT_TRACE}-{CLIENT_SPAN}-00"
    response = live.transcribe(headers={"traceparent": unsampled})
    assert response.headers["traceresponse"].endswith("-00")
    come(collector, trace_of(live.transcribe()))
    assert collector.of(CLIENT_TRACE) == {}


def test_a_backend_that_tells_no_stages_leaves_the_requests_alone(collector: Collector) -> None:
    class PlainBatch(FakeBatch):
        def step(self) -> list[tuple[int, Answer]]:
            return [(key, partial(answer)) for key, answer in super().step()]

    class Plain(FakeBackend):
        def start_batch(self, interrupted: Callable[[], bool]) -> PlainBatch:
            return PlainBatch(self, interrupted)

    def opened() -> Backend:
        return Plain(spec=SPEC)

    with traces(os.environ) as traced, serving(opened, traced=traced) as live:
        spans = come(collector, trace_of(live.transcribe()))
        assert set(spans) == {ROUTE, *REQUEST_SPANS}


def test_a_real_server_sends_what_its_models_process_has_done(collector: Collector) -> None:
    environment = {"OTEL_SERVICE_NAME": "speech", "LITHOPHONE_LOG_FORMAT": "json"}
    process, url = start_server(environment=environment)
    try:
        workers = {child.pid for child in psutil.Process(process.pid).children(recursive=True)}
        audio = httpx.post(
            f"{url}/v1/audio/transcriptions",
            files={"file": ("a.flac", (ROOT / "examples/speech/demo.flac").read_bytes())},
            data={"model": "whisper-1"},
            headers=PARENT,
            timeout=60,
        )
        assert audio.status_code == 200
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == 0
    spans = collector.of(CLIENT_TRACE)  # the last ones were sent at the end
    (root,) = spans[ROUTE]
    assert root.parent_id == CLIENT_SPAN
    for name in REQUEST_SPANS:
        assert name in spans
    heard = spans.get("hear", [])
    assert len(heard) == len(spans["window"]) > 0
    assert {one.attributes["process.pid"] for one in heard} <= workers
    assert collector.resources[0]["service.name"] == "speech"


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_without_a_collector_nothing_is_traced(environ: dict[str, str]) -> None:
    with traces(environ) as traced:
        assert traced is untraced


def test_what_cannot_be_is_said_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    with (
        pytest.raises(ConfigurationError, match="not by grpc"),
        traces(there | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}),
    ):
        pass
    real = builtins.__import__

    def refusing(name: str, *rest: Any) -> Any:
        if name.startswith("opentelemetry.exporter"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refusing)
    with pytest.raises(ConfigurationError, match=r"pip install 'lithophone\[otel\]'"), traces(there):
        pass


def test_a_collector_that_is_not_there_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    with traces(os.environ) as traced, serving(traced=traced) as live:
        assert live.transcribe().status_code == 200
