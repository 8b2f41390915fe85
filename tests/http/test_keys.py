"""Keys in a file, and every route behind the right door, by whatever spelling."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from structlog.testing import capture_logs

from lithophone.backends.fake import FakeBackend, LoudnessDetector, PlainRuntime
from lithophone.engine.admission import Admission
from lithophone.engine.fairness import Client
from lithophone.errors import ConfigurationError
from lithophone.hosts.models import Models
from lithophone.hosts.supervised import SupervisedHost
from lithophone.hosts.thread import in_thread
from lithophone.http import keys as keys_room
from lithophone.http.app import create_app
from lithophone.http.keys import Keys, KeysFile
from lithophone.http.options import HttpOptions
from tests.http.conftest import SPEC, Live, serving

OPEN = {"/", "/health", "/ready", "/schema"}
"""What needs no key: the page and what it is made of, the probes, the description of the API."""


def entry(name: str, key: str, *more: str) -> str:
    digest = hashlib.sha256(key.encode()).hexdigest()
    return "\n".join(("[[keys]]", f'name = "{name}"', f'sha256 = "{digest}"', *more, ""))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "keys.toml"
    path.write_text(entry("ann", "anns-key", "max_requests = 2") + entry("bob", "bobs-key"))
    return path


def test_an_owner_is_known_by_the_key(path: Path) -> None:
    keys = Keys(("plain",), KeysFile(path))
    assert keys.owner_of("anns-key") == Client("ann", max_requests=2)
    assert keys.owner_of("bobs-key") == Client("bob")
    assert keys.owner_of("plain") == Client("key 1")
    assert [keys.owner_of(wrong) for wrong in ("", "anns-ke", "ann", "\udcff")] == [None] * 4


def test_a_changed_file_is_read_again_and_a_broken_one_is_not(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys_room, "LOOK_AGAIN_SECONDS", 0.0)
    keys = Keys((), KeysFile(path))
    path.write_text(entry("cid", "cids-key"))
    assert keys.owner_of("cids-key") == Client("cid")
    assert keys.owner_of("anns-key") is None
    with capture_logs() as logs:
        path.write_text("[[keys]")
        assert keys.owner_of("cids-key") == Client("cid")
        path.unlink()
        assert keys.owner_of("cids-key") == Client("cid")
        path.write_text(entry("bob", "bobs-key"))
        os.utime(path, (1, 1))
        assert keys.owner_of("bobs-key") == Client("bob")
    assert [line["event"] for line in logs] == ["keys_not_reread", "keys_not_reread", "keys_reread"]
    assert "key" not in str(logs).replace("keys", "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "keys = []",
        "[[keys]",
        '[[keys]]\nname = "a"\n',
        '[[keys]]\nname = "a"\nsha256 = "12"\n',
        entry("a b", "x"),
        entry("a", "x", "max_request = 2"),
        entry("a", "x", "max_requests = -1"),
        entry("a", "x") + entry("a", "y"),
    ],
)
def test_a_file_without_meaning_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "keys").write_text(text)
    with pytest.raises(ConfigurationError, match="keys file"):
        KeysFile(tmp_path / "keys")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        KeysFile(tmp_path / "none")


@pytest.fixture(scope="module")
def guarded() -> Iterator[Live]:
    with serving(options=HttpOptions(api_keys=("the-key",)), voice=LoudnessDetector()) as live:
        yield live


def routes() -> list[tuple[str, str]]:
    """Method and path of every route there is."""
    host = SupervisedHost(SPEC.id, SPEC, in_thread(lambda: FakeBackend(spec=SPEC), PlainRuntime()))
    app = create_app(Models([host]), Admission(1), voice=LoudnessDetector())
    return [
        (
            method,
            route.path.replace("{model_id:path}", "x/load" if method == "POST" else "whisper-1"),
        )
        for route in app.routes
        for method in sorted(getattr(route, "methods", ()))
    ]


def spellings(path: str) -> set[str]:
    last = path.rstrip("/").rpartition("/")[2]
    encoded = "".join(f"%{byte:02x}" for byte in last.encode())
    return {
        path,
        path + "/",
        "/" + path,
        path + "?key=1",
        path.replace("/v1", "/x/../v1", 1),
        path.replace("/v1", "/%2e/v1", 1),
        path.replace("/v1/", "/v1//", 1),
        path.replace("/v1", "/V1", 1),
        path.replace("/v1", "/%76%31", 1),
        path.removesuffix(last) + encoded,
        path + "%00",
        path + ";x",
        f"http://elsewhere{path}",
    }


def status_of(live: Live, method: str, target: str, headers: dict[str, str]) -> int:
    """Of a request whose target nobody tidies up on the way."""
    address = urlsplit(live.url)
    connection = HTTPConnection(address.hostname or "", address.port or 0, timeout=20)
    with closing(connection):
        connection.request(method, target, headers=headers)
        return connection.getresponse().status


@pytest.mark.parametrize(("method", "path"), routes())
def test_every_route_is_behind_its_door_by_every_spelling(guarded: Live, method: str, path: str) -> None:
    is_open = path in OPEN or path.startswith(("/schema/", "/assets/"))
    for spelling in sorted(spellings(path)):
        for headers in ({}, {"authorization": "Bearer wrong"}, {"x-api-key": "the-key"}):
            status = status_of(guarded, method, spelling, headers)
            if is_open:
                assert status != 401
            else:
                assert status in {401, 404, 405} or method == "OPTIONS", spelling
    if not is_open and method != "OPTIONS":
        assert status_of(guarded, method, path, {}) == 401
        assert status_of(guarded, method, path, {"authorization": "Bearer the-key"}) not in {401, 405}
