"""Browsers: pages that are listed may ask, and a keyless server is nothing to any other page or name."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithophone.errors import ConfigurationError, ForeignHostError, ForeignOriginError
from lithophone.http.doors import Doors, Visit, host_name
from lithophone.http.options import HttpOptions
from tests.http.conftest import SHORT, Live, error_of, serving

PATH = "/v1/audio/transcriptions"
NOTES = "app://obsidian.md"
LOOPBACK, NETWORK = "127.0.0.1", "192.168.1.5"


def refused(
    host: str | None, origin: str | None = None, arrived_at: str = LOOPBACK, doors: Doors | None = None
) -> str | None:
    error = (doors or Doors()).refusal(Visit(host, origin, arrived_at))
    return None if error is None else str(error.code)


@pytest.mark.parametrize(
    "host",
    [
        None,
        "localhost",
        "LOCALHOST:8000",
        "localhost.:8000",
        "a.localhost",
        "127.0.0.1:8000",
        "127.9.9.9",
        "[::1]:8000",
    ],
)
def test_the_loopback_is_known_by_its_names(host: str | None) -> None:
    assert refused(host) is None


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "192.168.1.5:8000",
        "",
        "a b",
        "[::1",
        "127.0.0.1.nip.example",
    ],
)
def test_no_other_name_is_the_loopback(host: str) -> None:
    assert refused(host) == ForeignHostError.code


def test_on_the_network_addresses_are_no_names_that_could_be_pointed_here() -> None:
    for host in ("192.168.1.5:8000", "10.0.0.7", "[fe80::1]:8000"):
        assert refused(host, arrived_at=NETWORK) is None
    assert refused("evil.example", arrived_at=NETWORK) == ForeignHostError.code
    listed = Doors(allowed_hosts=("Speech.Example",))
    assert refused("speech.example:8000", arrived_at=NETWORK, doors=listed) is None
    assert refused("evil.example", doors=Doors(allowed_hosts=("*",))) is None


def test_a_page_is_of_this_server_or_listed() -> None:
    assert refused("localhost:8000", "http://localhost:8000") is None
    assert refused("localhost", "http://localhost:80") is None
    for foreign in (
        "https://evil.example",
        "null",
        "http://localhost:3000",
        "file://",
        NOTES,
        "",
        "localhost:8000",
    ):
        assert refused("localhost:8000", foreign) == ForeignOriginError.code
    assert refused("localhost:8000", NOTES, doors=Doors((NOTES,))) is None
    behind_proxy = Doors(allowed_hosts=("speech.example",))
    assert refused("speech.example", "https://speech.example", doors=behind_proxy) is None
    assert refused("localhost:8000", "https://speech.example", doors=behind_proxy) is None
    assert refused("localhost:8000", "https://evil.example", doors=Doors(allowed_hosts=("*",))) is not None


def test_a_server_with_keys_asks_for_one_instead() -> None:
    assert refused("evil.example", "https://evil.example", doors=Doors(open_to_all=False)) is None


def test_a_server_with_keys_answers_by_the_listed_names_alone_where_some_are() -> None:
    listed = Doors(allowed_hosts=("speech.example",), open_to_all=False)
    for own in ("speech.example", "localhost:8000", "SPEECH.example:443"):
        assert refused(own, "https://elsewhere.example", doors=listed) is None
    assert refused("10.0.0.7", arrived_at=NETWORK, doors=listed) is None
    assert refused("evil.example", doors=listed) == ForeignHostError.code
    assert refused("evil.example", doors=Doors(allowed_hosts=("*",), open_to_all=False)) is None


@pytest.mark.parametrize("origin", ["notes.example", "https://", "https://a/b", ""])
def test_an_origin_that_is_none_is_a_mistake_of_the_operator(origin: str) -> None:
    with pytest.raises(ConfigurationError, match="cors-origins"):
        Doors((origin,))


@given(st.text(), st.text())
def test_whatever_a_client_says_of_itself_is_judged(host: str, origin: str) -> None:
    assert host_name(host) == host_name(host).lower()
    assert refused(host, origin) in {None, ForeignHostError.code, ForeignOriginError.code}


@pytest.fixture(scope="module")
def shared() -> Iterator[Live]:
    """A keyless server that the notes' pages may ask."""
    with serving(options=HttpOptions(cors_origins=(NOTES, "https://page.example"))) as live:
        yield live


class Browser:
    """Sends as a page may: asks first where it must, and gives the page only what it may read."""

    SIMPLE = frozenset({"accept", "accept-language", "content-language"})

    def __init__(self, live: Live, origin: str) -> None:
        self._live = live
        self._origin = origin

    def post(self, **headers: str) -> httpx.Response:
        unsafe = sorted(name for name in headers if name.lower() not in self.SIMPLE)
        if unsafe:
            self._ask(unsafe)
        response = self._live.client.post(
            PATH,
            files={"file": ("recording.webm", SHORT, "audio/webm")},
            data={"model": "whisper-1", "language": "en"},
            headers={**headers, "origin": self._origin},
        )
        self._require_readable(response)
        return response

    def _ask(self, headers: list[str]) -> None:
        response = self._live.client.options(
            PATH,
            headers={
                "origin": self._origin,
                "access-control-request-method": "POST",
                "access-control-request-headers": ",".join(headers),
            },
        )
        self._require_readable(response)
        assert response.is_success
        assert "POST" in response.headers["access-control-allow-methods"]
        allowed = response.headers["access-control-allow-headers"].lower().replace(" ", "").split(",")
        assert {name.lower() for name in headers} <= set(allowed)

    def _require_readable(self, response: httpx.Response) -> None:
        if response.headers.get("access-control-allow-origin") not in {self._origin, "*"}:
            raise PermissionError


STAINLESS = {"authorization": "Bearer none", "x-stainless-os": "Unknown", "x-stainless-retry-count": "0"}


def test_a_listed_page_asks_and_reads(shared: Live) -> None:
    answer = Browser(shared, NOTES).post(**STAINLESS)
    assert answer.json()["text"]
    assert "x-lithophone-warning" in answer.headers["access-control-expose-headers"]
    assert "Origin" in answer.headers["vary"]


def test_a_listed_page_reads_errors_too(shared: Live) -> None:
    response = shared.client.post(PATH, headers={"origin": NOTES}, content=b"")
    error_of(response, 400)
    assert response.headers["access-control-allow-origin"] == NOTES


def test_a_page_that_is_not_listed_gets_nothing(shared: Live) -> None:
    with pytest.raises(PermissionError):
        Browser(shared, "https://evil.example").post(**STAINLESS)
    with pytest.raises(PermissionError):
        Browser(shared, "https://evil.example").post()
    assert shared.script.decoding == 0
    post = shared.client.post(PATH, headers={"origin": "https://evil.example"}, content=b"")
    assert error_of(post, 403)["code"] == "foreign_origin"


def test_a_rebound_name_is_not_answered(shared: Live) -> None:
    response = shared.client.get("/v1/models", headers={"host": "evil.example"})
    error = error_of(response, 403)
    assert error["code"] == "foreign_host"
    assert "--allowed-hosts evil.example" in error["message"]


def test_keys_do_not_keep_a_browser_from_asking_whether_it_may() -> None:
    with serving(options=HttpOptions(api_keys=("right",), cors_origins=("*",))) as live:
        page = Browser(live, "https://anywhere.example")
        assert page.post(authorization="Bearer right").status_code == 200
        assert page.post(authorization="Bearer wrong").status_code == 401
        assert live.client.get("/health", headers={"host": "any.example"}).status_code == 200


def test_without_listed_pages_nothing_is_shared(server: Live) -> None:
    response = server.client.get("/health", headers={"origin": server.url})
    assert response.status_code == 200
    assert not [name for name in response.headers if name.startswith("access-control")]
