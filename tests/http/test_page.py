"""`/`: a page for a browser, a few lines for a terminal, JSON for a program; and what the page is made of."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from pathlib import Path

import httpx
import pytest

from lithophone import __version__
from lithophone.granite.family import DEMONSTRATION_ID
from lithophone.http.options import HttpOptions
from lithophone.http.page import POLICY, built_page
from tests.http.conftest import Live, error_of, serving

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "server" / "page"
BUILT = ROOT / "server" / "lithophone" / "page"
BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"}
LARGEST_BYTES = 150_000


def page_of(live: Live, **headers: str) -> httpx.Response:
    return live.client.get("/", headers={**BROWSER, **headers})


def address(name: str) -> str:
    """Where a file of the page is served."""
    return "/" if name == "index.html" else f"/{name}"


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_terminal_is_told_how_to_ask(server: Live) -> None:
    answer = server.client.get("/")
    assert answer.headers["content-type"].startswith("text/plain")
    assert f"curl {server.url}/v1/audio/transcriptions -F file=@" in answer.text
    assert f"{server.url}/schema" in answer.text


def test_a_program_gets_json(server: Live) -> None:
    answer = server.client.get("/", headers={"accept": "application/json"})
    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    assert type(told.pop("realtime")) is bool
    assert told == {
        "name": "lithophone",
        "version": __version__,
        "model": DEMONSTRATION_ID,
        "state": "ready",
        "schema": f"{server.url}/schema",
        "max_upload_bytes": HttpOptions().max_upload_bytes,
        "needs_key": False,
        "note": None,
    }


def test_a_browser_gets_the_page_and_asks_again_each_time(server: Live) -> None:
    page = page_of(server)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["cache-control"] == "no-cache"
    assert "Accept" in page.headers["vary"]
    assert page.text == (BUILT / "index.html").read_text()
    again = page_of(server, **{"if-none-match": page.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_what_the_page_names_is_there_and_may_be_kept_for_ever(server: Live) -> None:
    names = re.findall(r'(?:src|href)="\./([^"]+)"', page_of(server).text)
    assert len(names) >= 3
    for name in names:
        asset = server.client.get(f"/{name}")
        assert asset.status_code == 200
        assert "immutable" in asset.headers["cache-control"]
        assert asset.headers["x-content-type-options"] == "nosniff"


def test_an_asset_is_sent_compressed_to_who_takes_it(server: Live) -> None:
    for name, file in built_page().items():
        plain = server.client.get(address(name), headers={"accept-encoding": "identity", **BROWSER})
        assert plain.content == file.body
        assert "content-encoding" not in plain.headers
        assert gzip.decompress(file.zipped) == file.body
        zipped = server.client.get(address(name), headers={"accept-encoding": "gzip", **BROWSER})
        assert zipped.headers["content-encoding"] == "gzip"
        assert zipped.content == file.body  # httpx unpacks it


@pytest.mark.parametrize("name", ["nope.js", "..%2fbuilt.json", "..%2f..%2f__init__.py", "%2e%2e"])
def test_nothing_else_is_there(server: Live, name: str) -> None:
    error_of(server.client.get(f"/assets/{name}"), 404)


def test_the_page_may_do_nothing_that_it_does_not_need(server: Live) -> None:
    page = page_of(server)
    assert page.headers["content-security-policy"] == POLICY
    assert "unsafe" not in POLICY
    assert POLICY.startswith("default-src 'none'; script-src 'self';")
    assert "frame-ancestors 'none'" in POLICY
    assert page.headers["referrer-policy"] == "no-referrer"
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|javascript:", page.text)


def test_the_page_needs_no_key_and_says_that_the_api_does() -> None:
    with serving(options=HttpOptions(api_keys=("secret",))) as live:
        assert page_of(live).status_code == 200
        assert live.client.get("/", headers={"accept": "application/json"}).json()["needs_key"] is True
        assert all(
            live.client.get(address(name), headers=BROWSER).status_code == 200 for name in built_page()
        )


def test_nothing_of_the_page_comes_from_elsewhere() -> None:
    named = {
        url
        for file in built_page().values()
        for url in re.findall(
            rb"""(?:src|href)=["'](?:https?:)?//[^"']+|import\(["']https?:[^"']+""", file.body
        )
    }
    assert named == set()


def test_the_page_is_light() -> None:
    """What of it is ours and its small libraries': all but the waveform's."""
    sizes = {name: len(file.zipped) for name, file in built_page().items() if "/wavesurfer-" not in name}
    assert len(sizes) < len(built_page())
    assert sum(sizes.values()) <= LARGEST_BYTES, sizes


def test_the_built_page_is_that_of_its_sources() -> None:
    built = json.loads((BUILT / "built.json").read_text())
    sources = [SOURCE / name for name in built["sources"]]
    listed = {path for path in sources if path.is_relative_to(SOURCE / "src")}
    assert listed == {path for path in (SOURCE / "src").rglob("*") if path.is_file()}, "make page builds it"
    assert built["sources"] == {str(path.relative_to(SOURCE)): digest(path) for path in sources}, (
        "the page was changed after it was built; make page builds it"
    )
    files = [path for path in BUILT.rglob("*") if path.is_file() and path.name != "built.json"]
    assert built["files"] == {str(path.relative_to(BUILT)): digest(path) for path in files}
