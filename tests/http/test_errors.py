"""Every error of the tree has the same shape on the wire."""

from __future__ import annotations

import httpx
import pytest
from litestar.exceptions import (
    HTTPException,
    NotAuthorizedException,
    PermissionDeniedException,
    ServiceUnavailableException,
    ValidationException,
)
from structlog.testing import capture_logs

from lithophone.errors import InternalError, OverloadedError, ServiceError
from lithophone.http.errors import service_error
from lithophone.http.quoting import quote
from tests.http.conftest import Live, error_of


def tree(root: type[ServiceError] = ServiceError) -> list[type[ServiceError]]:
    return [root, *(below for child in root.__subclasses__() for below in tree(child))]


@pytest.mark.parametrize("kind", tree(), ids=lambda kind: kind.__name__)
def test_every_service_error_reaches_the_wire(server: Live, kind: type[ServiceError]) -> None:
    server.script.failure = failure = kind("What went wrong.")
    response = server.transcribe()
    assert error_of(response, kind.status) == {
        "message": "What went wrong.",
        "type": kind.type,
        "param": None,
        "code": kind.code,
    }
    assert all(response.headers[name] == value for name, value in failure.headers.items())


def test_the_wire_knows_no_422_and_no_415() -> None:
    assert {kind.status for kind in tree()} == {400, 401, 403, 404, 405, 409, 413, 429, 499, 500, 503}


@pytest.mark.parametrize("path", ["/nope", "/v1", "/v1/audio/speech", "/schema/x"])
def test_an_unknown_path_is_a_404_in_the_error_shape(server: Live, path: str) -> None:
    assert path in error_of(server.client.get(path), 404)["message"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/health", "GET, HEAD"),
        ("GET", "/v1/audio/transcriptions", "POST"),
        ("DELETE", "/v1/models/whisper-1", "GET"),
    ],
)
def test_a_wrong_method_is_a_405_that_names_the_right_ones(
    server: Live, method: str, path: str, allowed: str
) -> None:
    answer = server.client.request(method, path)
    error = error_of(answer, 405)
    assert error["code"] == "method_not_allowed"
    assert allowed in error["message"]
    assert allowed in answer.headers["allow"]


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/v1/models/whisper-1", "GET, OPTIONS, POST"),
        ("/v1/models", "GET, OPTIONS"),
        ("/health", "GET, OPTIONS"),
    ],
)
def test_a_resource_tells_all_of_its_methods(server: Live, path: str, methods: str) -> None:
    assert server.client.options(path).headers["allow"] == methods


def test_a_surprise_is_a_500_that_is_logged_and_says_nothing(server: Live) -> None:
    server.script.failure = RuntimeError("the secret path")
    with capture_logs() as logs:
        response = server.transcribe()
    assert error_of(response, 500)["code"] == "internal_error"
    assert "secret" not in response.text
    (logged,) = [entry for entry in logs if entry["log_level"] == "error"]
    assert str(logged["exc_info"]) == "the secret path"


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (ValidationException("no"), 400),
        (PermissionDeniedException("no"), 400),
        (NotAuthorizedException("no"), 401),
        (HTTPException(status_code=413), 413),
        (HTTPException(status_code=418), 400),
        (ServiceUnavailableException("inside"), 500),
        (KeyError("inside"), 500),
    ],
)
def test_the_frameworks_errors_become_ours(failure: Exception, status: int) -> None:
    error = service_error(failure)
    assert error.status == status
    assert "inside" not in error.message


def test_our_errors_stay_themselves() -> None:
    failure = OverloadedError("Later.", retry_after_seconds=7)
    assert service_error(failure) is failure
    assert isinstance(service_error(ValueError()), InternalError)


def test_what_the_client_said_is_quoted_short() -> None:
    assert quote("a\nb") == r"'a\nb'"
    assert len(quote("x" * 10_000)) < 120


def test_a_host_that_is_none_is_not_ours(server: Live) -> None:
    response = httpx.get(f"{server.url}/health", headers={"host": "a b"})
    assert response.status_code == 403


@pytest.mark.parametrize("host", ["a:b", "x:99999999", "[::1", ""])
def test_a_host_whose_port_is_none_is_no_failure_of_ours(server: Live, host: str) -> None:
    for path in ("/v1/audio/transcriptions", "/nope"):
        response = httpx.get(f"{server.url}{path}", headers={"host": host})
        assert response.status_code in {403, 404, 405}
        error_of(response, response.status_code)


def test_json_nested_too_deep_is_the_clients_fault(server: Live) -> None:
    assert error_of(server.transcribe(chunking_strategy='{"a":' * 5000), 400)["param"] == "chunking_strategy"


def test_a_value_is_not_told_back_in_its_whole_length(server: Live) -> None:
    assert len(error_of(server.transcribe(chunking_strategy="x" * 100_000), 400)["message"]) < 300


@pytest.mark.parametrize("name", [" ", " x", "\t", "\x7f", "ü " * 200])
def test_a_field_of_any_name_is_passed_over_and_told_of(server: Live, name: str) -> None:
    response = server.transcribe(**{name: "1"})
    assert response.status_code == 200
    assert "unknown, not used" in response.headers["x-lithophone-warning"]
