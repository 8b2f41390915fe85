"""Behind a proxy that serves us under a path of its own, on a real port: one that strips the path off, and one that does not."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest

from lithophone.http.options import HttpOptions
from tests.engine.dictation.spoken import spoken
from tests.http.conftest import SHORT, Live, eventually, serving
from tests.http.realtime.conftest import live_serving, talking
from tests.http.test_page import BROWSER
from tests.relay import below, relayed

PREFIX = "/stt"
Place = tuple[Live, str]


@pytest.fixture(params=["stripped", "kept", "stripped, and nobody said so"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """A server, and where a proxy has it."""
    root_path = "" if "nobody" in request.param else PREFIX
    with (
        live_serving(root_path=root_path) as live,
        relayed(live.url, below(PREFIX, stripped="stripped" in request.param)) as proxy,
    ):
        yield live, proxy.url + PREFIX


def test_the_page_finds_what_it_is_made_of(place: Place) -> None:
    _, url = place
    page = httpx.get(f"{url}/", headers=BROWSER)
    names = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(names) >= 3
    for name in names:
        address = urljoin(f"{url}/", name)
        assert address.startswith(f"{url}/assets/")
        assert httpx.get(address).status_code == 200


def test_recordings_and_captions_come_through(place: Place) -> None:
    live, url = place
    answer = httpx.post(
        f"{url}/v1/audio/transcriptions", files={"file": SHORT}, data={"model": "whisper-1", "stream": "true"}
    )
    assert answer.status_code == 200
    assert "transcript.text.done" in answer.text
    with talking(live, f"{PREFIX}/v1/realtime?intent=transcription", url=url.removesuffix(PREFIX)) as talk:
        assert talk.receive()["type"] == "session.created"
        talk.configure(turn_detection=None)
        talk.say(spoken(1, 2))
        assert talk.commit()["transcript"] == "one two"


@pytest.mark.parametrize("stripped", [True, False])
def test_addresses_that_are_told_hold_the_path(stripped: bool) -> None:
    with (
        serving(options=HttpOptions(root_path=PREFIX)) as live,
        relayed(live.url, below(PREFIX, stripped=stripped)) as proxy,
    ):
        url = f"{proxy.url}{PREFIX}/"
        assert httpx.get(url, headers={"accept": "application/json"}).json()["schema"] == f"{url}schema"
        assert f"curl {url}v1/audio/transcriptions" in httpx.get(url).text


def test_a_browser_that_leaves_the_slash_out_is_sent_to_the_page() -> None:
    """Else the page would look for what it is made of beside its path, not below it."""
    with (
        serving(options=HttpOptions(root_path=PREFIX)) as live,
        relayed(live.url, below(PREFIX, stripped=False)) as proxy,
    ):
        sent = httpx.get(f"{proxy.url}{PREFIX}?model=x", headers=BROWSER)
        assert (sent.status_code, sent.headers["location"]) == (302, f"{PREFIX}/?model=x")
        assert sent.headers["x-request-id"]
        assert httpx.get(f"{proxy.url}{PREFIX}").status_code == 200


WHOLE_CONFIGURATION = """
daemon off; pid {folder}/pid; error_log {folder}/error;
events {{}}
http {{
    access_log off;
    {temporary}
    server {{ listen 127.0.0.1:{port}; {shown} }}
}}
"""


def _answers(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.skipif(shutil.which("nginx") is None, reason="there is no nginx")
def test_nginx_as_it_is_shown(tmp_path: Path) -> None:
    shown = (Path(__file__).resolve().parents[2] / "examples/deploy/nginx.conf").read_text()
    with live_serving(root_path=PREFIX) as live:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        configuration = WHOLE_CONFIGURATION.format(
            folder=tmp_path,
            temporary=" ".join(
                f"{kind}_temp_path {tmp_path}/{kind};"
                for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
            ),
            port=port,
            shown=shown.replace("http://127.0.0.1:8000", live.url),
        )
        (tmp_path / "nginx.conf").write_text(configuration)
        nginx = subprocess.Popen(["nginx", "-e", f"{tmp_path}/early", "-c", f"{tmp_path}/nginx.conf"])  # noqa: S607 - of the PATH
        try:
            url = f"http://127.0.0.1:{port}"
            eventually(lambda: _answers(port))
            page = httpx.get(f"{url}{PREFIX}", headers=BROWSER, follow_redirects=True)
            assert (str(page.url), page.headers["content-type"]) == (
                f"{url}{PREFIX}/",
                "text/html; charset=utf-8",
            )
            told = httpx.get(f"{url}{PREFIX}/", headers={"accept": "application/json"}).json()
            assert told["schema"] == f"{url}{PREFIX}/schema"
            with talking(live, f"{PREFIX}/v1/realtime?intent=transcription", url=url) as talk:
                talk.receive()
                talk.configure(turn_detection=None)
                talk.say(spoken(1, 2))
                assert talk.commit()["transcript"] == "one two"
        finally:
            nginx.terminate()
            nginx.wait()
