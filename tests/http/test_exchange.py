"""What every response carries, and what is logged of it."""

from __future__ import annotations

import re

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from tests.http.conftest import Live, eventually

PATHS = [
    "/",
    "/health",
    "/ready",
    "/schema",
    "/v1/models",
    "/nope",
    "/v1/models/nope",
    "/v1/audio/transcriptions",
]


@pytest.mark.parametrize("path", PATHS)
def test_every_response_has_an_id_and_its_time(server: Live, path: str) -> None:
    response = server.client.get(path)
    assert re.fullmatch(r"req_[0-9a-f]{32}", response.headers["x-request-id"])
    assert int(response.headers["openai-processing-ms"]) >= 0


def test_the_callers_id_is_kept(server: Live) -> None:
    response = server.client.get("/nope", headers={"x-request-id": "trace-7:a.b/c"})
    assert response.headers["x-request-id"] == "trace-7:a.b/c"


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "a\tb", "naïve", '"quoted"', "a;b"])
def test_an_id_that_could_do_harm_is_replaced(server: Live, given: str) -> None:
    response = server.client.get("/health", headers={b"x-request-id": given.encode("latin-1")})
    assert response.headers["x-request-id"].startswith("req_")


def test_ids_differ(server: Live) -> None:
    ids = {server.client.get("/health").headers["x-request-id"] for _ in range(5)}
    assert len(ids) == 5


def requests_in(logs: list[EventDict], path: str = "/v1/audio/transcriptions") -> list[EventDict]:
    """The lines about requests of a path; what else a server tells meanwhile, of the test before too, is no concern here."""
    return [line for line in logs if line["event"] == "request" and line["path"] == path]


def test_a_request_is_one_line_without_what_was_said(server: Live) -> None:
    with capture_logs() as logs:
        server.transcribe(headers={"authorization": "Bearer hush"}, response_format="text", language="en")
        eventually(lambda: bool(requests_in(logs)))  # the line is written after the answer is sent
    (line,) = requests_in(logs)
    milliseconds = line.pop("milliseconds")
    assert milliseconds > 0
    stages = [line.pop(f"{stage}_seconds") for stage in ("upload", "queue", "load", "answer")]
    assert 0 < sum(stages) <= milliseconds / 1000 + 0.01
    assert 0 <= line.pop("decode_seconds") <= stages[-1]
    assert line == {
        "event": "request",
        "log_level": "info",
        "method": "POST",
        "path": "/v1/audio/transcriptions",
        "status": 200,
        "audio_seconds": 1.0,
    }


def test_a_failure_is_one_line_too(server: Live) -> None:
    with capture_logs() as logs:
        server.client.get("/v1/models/secret?key=hush")
        eventually(lambda: bool(requests_in(logs, "/v1/models/secret")))
    (line,) = requests_in(logs, "/v1/models/secret")
    assert line["status"] == 404
    assert line["failure"] == "model_not_found"
    assert "hush" not in str(line)
    assert "audio_seconds" not in line


def test_a_streams_line_is_written_at_its_end(server: Live) -> None:
    with capture_logs() as logs:
        server.transcribe(stream="true")
        eventually(lambda: bool(requests_in(logs)))
    (line,) = requests_in(logs)
    assert line["audio_seconds"] == 1.0
    assert "client_left" not in line
