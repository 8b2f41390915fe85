"""The page behind a proxy that serves it under a path of its own: everything it asks for lies below that."""

from __future__ import annotations

import re

from tests.conftest import LiveServer
from tests.page.conftest import DEMO, DEMO_TEXT, Opened
from tests.relay import below, relayed


def test_a_recording_and_captions_under_a_path(live_server: LiveServer, opened: Opened) -> None:
    with relayed(live_server.url, below("/stt", stripped=True)) as proxy:
        place = proxy.url.removeprefix("http://")
        bench = opened(f"{proxy.url}/stt/")
        asked: list[str] = []
        bench.page.on("request", lambda request: asked.append(request.url))
        bench.page.on("websocket", lambda socket: asked.append(socket.url))
        bench.add(DEMO)
        bench.becomes(DEMO.name, "done")
        assert bench.text == DEMO_TEXT
        bench.page.locator(".wave").wait_for()
        bench.page.get_by_role("button", name="Live captions").click()
        bench.page.get_by_role("button", name="Start", exact=True).click()
        bench.page.locator(".captions", has_text="dollars").wait_for(timeout=60_000)
        bench.page.get_by_role("button", name="Stop").click()
        bench.page.get_by_role("button", name="Open the recording").wait_for(timeout=30_000)
        bench.page.goto("about:blank")
    assert any("/v1/realtime" in url for url in asked)
    here = re.compile(rf"(?:http|ws)://{place}/stt/|blob:http://{place}/|about:blank")
    assert [url for url in asked if not here.match(url)] == []
