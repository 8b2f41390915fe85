from __future__ import annotations

from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from lithophone.errors import AuthenticationError
from lithophone.http.auth import bearer_token
from lithophone.http.options import HttpOptions
from tests.http.conftest import Live, error_of, eventually, serving

KEYS = ("first-key", "second-key")


@pytest.fixture(scope="module")
def guarded() -> Iterator[Live]:
    with serving(options=HttpOptions(api_keys=KEYS)) as live:
        yield live


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.mark.parametrize("key", KEYS)
def test_each_key_opens(guarded: Live, key: str) -> None:
    assert guarded.client.get("/v1/models", headers=bearer(key)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearer("wrong"),
        bearer("first-ke"),
        {"authorization": "Basic first-key"},
        {"authorization": "first-key"},
    ],
)
@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/whisper-1"])
def test_anything_else_is_a_401_not_a_403(guarded: Live, headers: dict[str, str], path: str) -> None:
    response = guarded.client.get(path, headers=headers)
    assert error_of(response, 401)["type"] == "authentication_error"
    assert response.headers["www-authenticate"] == "Bearer"


def test_the_key_is_asked_for_before_the_body_is_read(guarded: Live) -> None:
    response = guarded.client.post("/v1/audio/transcriptions", content=b"no form at all")
    assert error_of(response, 401)


@pytest.mark.parametrize("path", ["/health", "/ready", "/schema", "/"])
def test_probes_and_description_are_open(guarded: Live, path: str) -> None:
    assert guarded.client.get(path).status_code == 200


def test_without_keys_any_key_will_do(server: Live) -> None:
    assert server.client.get("/v1/models", headers=bearer("anything")).status_code == 200
    assert server.client.get("/v1/models").status_code == 200


def test_the_scheme_may_be_written_small() -> None:
    assert bearer_token("bearer  key ") == "key"
    with pytest.raises(AuthenticationError):
        bearer_token(None)


def test_no_key_is_logged(guarded: Live) -> None:
    with capture_logs() as logs:
        guarded.client.get("/v1/models", headers=bearer("wrong"))
        guarded.client.get("/v1/models", headers=bearer("first-key"))
        eventually(lambda: len(logs) >= 2)  # the lines are written after the answers are sent
    assert "wrong" not in str(logs)
    assert "first-key" not in str(logs)
