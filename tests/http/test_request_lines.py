"""HEAD, absolute addresses, and a prefix before every route."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import httpx
import pytest

from lithophone.http.options import HttpOptions
from tests.http.conftest import Live, error_of, serving


@pytest.mark.parametrize("path", ["/health", "/ready", "/v1/models", "/v1/models/whisper-1", "/", "/schema"])
def test_head_answers_as_get_does_without_the_body(server: Live, path: str) -> None:
    got, head = server.client.get(path), server.client.head(path)
    assert head.status_code == got.status_code == 200
    assert head.content == b""
    for name in ("content-type", "content-length"):
        assert head.headers.get(name) == got.headers.get(name)


def test_head_of_what_is_not_there_or_only_posted(server: Live) -> None:
    assert server.client.head("/nope").status_code == 404
    wrong = server.client.head("/v1/audio/transcriptions")
    assert (wrong.status_code, wrong.content) == (405, b"")
    assert "HEAD" in server.client.put("/health").headers["allow"]


def asked(live: Live, request_line: str, host: str = "localhost") -> bytes:
    """The answer to a request written out, as no library would write it."""
    address = httpx.URL(live.url)
    with socket.create_connection((address.host, address.port or 80), timeout=10) as connection:
        request = f"{request_line}\r\nhost: {host}\r\nconnection: close\r\n\r\n"
        connection.sendall(request.encode())
        answer = b""
        while part := connection.recv(65_536):
            answer += part
    return answer


@pytest.mark.parametrize(
    "line", ["GET http://localhost/health HTTP/1.1", "HEAD HTTP://127.0.0.1:80/health HTTP/1.1"]
)
def test_an_absolute_address_is_as_good_as_a_path(server: Live, line: str) -> None:
    assert asked(server, line).startswith(b"HTTP/1.1 200 ")


def test_an_absolute_address_names_the_host(server: Live) -> None:
    """Whatever `Host` says: RFC 9112, 3.2.2."""
    assert asked(server, "GET http://evil.example/v1/models HTTP/1.1").startswith(b"HTTP/1.1 403 ")
    assert asked(server, "GET http://localhost HTTP/1.1", host="evil.example").startswith(b"HTTP/1.1 200 ")


@pytest.fixture(scope="module")
def below() -> Iterator[Live]:
    """A server behind a proxy that adds a prefix."""
    with serving(options=HttpOptions(root_path="speech/")) as live:
        yield live


@pytest.mark.parametrize("prefix", ["/speech", ""])
def test_a_prefix_is_passed_over_whether_the_proxy_stripped_it_or_not(below: Live, prefix: str) -> None:
    assert below.client.get(f"{prefix}/v1/models/whisper-1").json()["id"] == "whisper-1"
    assert "/speech/v1/audio/transcriptions -F" in below.client.get(f"{prefix}/").text
    error_of(below.client.get(f"{prefix}/nope"), 404)


def test_a_prefix_is_whole_parts_of_a_path(below: Live) -> None:
    assert below.client.get("/speech").status_code == 200
    error_of(below.client.get("/speechless/health"), 404)
