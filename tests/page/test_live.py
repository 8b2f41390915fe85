"""Live captions from the microphone: against a socket that speaks the protocol by script, and against the real one."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest
from playwright.sync_api import Route, WebSocketRoute

from tests.conftest import LiveServer
from tests.page.conftest import Opened, Workbench

T = "conversation.item.input_audio_transcription"
TURNS = (("so it begins", "So it begins."), ("and goes on", "And goes on <b>here</b>."))


class ScriptedSocket:
    """Turns of speech by the sound that came: words every half second, the end of a turn after one and a half."""

    def __init__(self) -> None:
        self.session: dict[str, Any] = {}
        self.samples = 0
        self._sent = 0

    def serve(self, socket: WebSocketRoute) -> None:
        self._socket = socket
        socket.on_message(lambda message: self._take(json.loads(message)))
        self._say("session.created", session={"type": "transcription"})

    def _say(self, kind: str, **fields: Any) -> None:
        self._socket.send(json.dumps({"event_id": "e", "type": kind, **fields}))

    def _take(self, event: dict[str, Any]) -> None:
        match event["type"]:
            case "session.update":
                self.session = event["session"]
                self._say("session.updated", session=self.session)
            case "input_audio_buffer.append":
                self.samples += len(base64.b64decode(event["audio"])) // 2
                self._speak()
            case "input_audio_buffer.commit":
                self._end_or_refuse()

    def _speak(self) -> None:
        while self._sent < min(self.samples // 12_000, 8):
            turn, step = divmod(self._sent, 4)
            self._sent += 1
            item = f"item_{turn}"
            words = TURNS[turn][0].split()
            if step == 0:
                self._say("input_audio_buffer.speech_started", item_id=item, audio_start_ms=2000 * turn)
            if step < 3:
                self._say(
                    f"{T}.delta", item_id=item, content_index=0, delta=(" " if step else "") + words[step]
                )
            elif turn == 0:
                self._finish(turn)

    def _finish(self, turn: int) -> None:
        item = f"item_{turn}"
        self._say("input_audio_buffer.speech_stopped", item_id=item, audio_end_ms=2000 * turn + 1500)
        self._say("input_audio_buffer.committed", item_id=item, previous_item_id=None)
        self._say(f"{T}.completed", item_id=item, content_index=0, transcript=TURNS[turn][1], usage={})

    def _end_or_refuse(self) -> None:
        if self._sent > 4:
            self._finish(1)
        else:
            error = {"code": "input_audio_buffer_commit_empty", "message": "Nothing to commit."}
            self._say("error", error=error)


def with_realtime(route: Route) -> None:
    """The server's own answer, with the socket in it."""
    if "application/json" not in route.request.headers.get("accept", ""):
        route.fallback()
        return
    response = route.fetch()
    route.fulfill(response=response, json={**response.json(), "realtime": True})


@pytest.fixture
def socket() -> ScriptedSocket:
    return ScriptedSocket()


@pytest.fixture
def bench(live_server: LiveServer, opened: Opened, socket: ScriptedSocket) -> Workbench:
    bench = opened(live_server.url, visit=False)
    bench.page.route(f"{live_server.url}/", with_realtime)
    bench.page.route_web_socket(re.compile(r"/v1/realtime\?intent=transcription"), socket.serve)
    return bench.open()


def start(bench: Workbench) -> None:
    bench.page.get_by_role("button", name="Live captions").click()
    bench.page.get_by_role("button", name="Start", exact=True).click()


def test_final_words_are_firm_and_the_rest_is_pale(bench: Workbench, socket: ScriptedSocket) -> None:
    start(bench)
    pale, firm = bench.page.locator(".captions .pale"), bench.page.locator(".captions .firm")
    pale.get_by_text("so it", exact=True).wait_for()
    announcer = bench.page.get_by_test_id("announcer")
    assert announcer.inner_text() == ""
    firm.get_by_text("So it begins.").wait_for()
    assert announcer.inner_text() == "So it begins."
    pale.get_by_text("and goes on").wait_for()
    assert announcer.inner_text() == "So it begins."  # never what is not final
    heard = socket.session["audio"]["input"]
    assert socket.session["type"] == "transcription"
    assert heard["format"] == {"type": "audio/pcm", "rate": 24_000}
    assert heard["transcription"] == {"model": "granite-speech-tiny"}
    bench.page.get_by_role("button", name="Stop").click()
    firm.get_by_text("And goes on <b>here</b>.").wait_for()
    bench.page.get_by_role("button", name="Start", exact=True).wait_for()
    assert bench.page.locator(".live [role=alert]").count() == 0


def test_captions_are_kept_with_their_sound_and_survive_a_reload(
    bench: Workbench, socket: ScriptedSocket
) -> None:
    start(bench)
    bench.page.get_by_text("And goes on").or_(bench.page.get_by_text("and goes on")).wait_for()
    bench.page.get_by_role("button", name="Stop").click()
    bench.page.get_by_role("button", name="Open the recording").click()
    assert bench.text == "So it begins. And goes on <b>here</b>."
    bench.page.locator(".wave").wait_for()
    length = bench.page.get_by_role("slider", name="Position").get_attribute("aria-valuemax")
    assert abs(float(length or 0) - socket.samples / 24_000) <= 1
    bench.page.reload()
    bench.show("Captions ")
    bench.page.locator(".wave").wait_for()
    bench.page.get_by_role("button", name="Transcribe again").click()
    bench.page.get_by_role("button", name="Replace this transcript").click()
    bench.page.locator(".said", has_text="nancy").wait_for()  # what the microphone really heard


def test_captions_under_way_are_kept_piece_by_piece_so_that_a_crash_loses_seconds_alone(
    bench: Workbench, socket: ScriptedSocket
) -> None:
    start(bench)
    bench.page.get_by_text("and goes on").wait_for()
    item = bench.item("Captions ")
    assert item.locator(".status").inner_text() == "Listening"
    assert item.get_by_role("button", name=re.compile("Delete|Cancel")).count() == 0
    until = 24_000 * 12
    while socket.samples < until:
        bench.page.wait_for_timeout(200)
    other = bench.page.context.new_page()
    other.goto(bench.url)
    other.locator(".item .status", has_text="Listening").wait_for()  # it is not lost: the first page is there
    bench.page.goto("about:blank")
    other.locator(".item .status", has_text="Interrupted").wait_for()
    other.close()
    bench.open()
    bench.show("Captions ")
    assert bench.text == "So it begins."
    assert "while it listened" in bench.page.locator(".problem-card").inner_text()
    bench.page.locator(".wave").wait_for()
    length = float(bench.page.get_by_role("slider", name="Position").get_attribute("aria-valuemax") or 0)
    assert 5 <= length <= socket.samples / 24_000 + 1
    bench.page.get_by_role("button", name="Start again").click()
    bench.page.locator(".said", has_text="nancy").first.wait_for()  # what the microphone really heard


def test_nothing_said_before_the_end_is_no_error(bench: Workbench, socket: ScriptedSocket) -> None:
    socket.samples = -(10**9)
    start(bench)
    bench.page.get_by_text("Listening.").wait_for()
    bench.page.get_by_role("button", name="Stop").click()
    bench.page.get_by_role("button", name="Start", exact=True).wait_for()
    assert bench.page.get_by_role("alert").count() == 0


def test_a_session_that_breaks_off_says_so_and_keeps_what_is_final(bench: Workbench) -> None:
    sockets: list[WebSocketRoute] = []
    script = ScriptedSocket()

    def serve(socket: WebSocketRoute) -> None:
        sockets.append(socket)
        script.serve(socket)

    bench.page.route_web_socket(re.compile("/v1/realtime"), serve)
    start(bench)
    bench.page.locator(".firm").wait_for()
    sockets[0].close(code=1011, reason="gone")
    assert "broke off" in bench.page.get_by_role("alert").inner_text()
    bench.page.get_by_role("button", name="Open the recording").wait_for()


ELSEWHERE = """
    WebSocket = class extends WebSocket {
        constructor(url, protocols) { super(String(url).replace("realtime", "nowhere"), protocols); }
    };
"""


def test_a_session_that_is_refused_says_so(live_server: LiveServer, opened: Opened) -> None:
    bench = opened(live_server.url, visit=False)
    bench.page.add_init_script(ELSEWHERE)
    bench.page.route(f"{live_server.url}/", with_realtime)
    bench.open()
    start(bench)
    assert "did not begin a live session" in bench.page.get_by_role("alert").inner_text()
    bench.page.get_by_role("button", name="Start", exact=True).wait_for()
    assert ["/v1/nowhere" in complaint for complaint in bench.complaints] == [True]
    bench.complaints.clear()


def test_a_denied_microphone_is_told_of(live_server: LiveServer, opened: Opened) -> None:
    bench = opened(live_server.url, visit=False, microphone=False)
    bench.page.route(f"{live_server.url}/", with_realtime)
    bench.open()
    start(bench)
    assert "not allowed" in bench.page.get_by_role("alert").inner_text()


def test_without_a_socket_nothing_is_offered(live_server: LiveServer, opened: Opened) -> None:
    bench = opened(live_server.url)
    offered = bench.page.request.get(live_server.url, headers={"accept": "application/json"}).json()[
        "realtime"
    ]
    bench.page.get_by_test_id("model").wait_for()
    assert bench.page.get_by_role("button", name="Live captions").count() == int(offered)


def test_captions_by_the_real_socket(live_server: LiveServer, opened: Opened) -> None:
    bench = opened(live_server.url)
    offered = bench.page.request.get(live_server.url, headers={"accept": "application/json"}).json()[
        "realtime"
    ]
    if not offered:
        pytest.skip("this server holds no live sessions")
    start(bench)
    bench.page.locator(".captions", has_text="dollars").wait_for(timeout=60_000)
    bench.page.get_by_role("button", name="Stop").click()
    bench.page.get_by_role("button", name="Open the recording").click(timeout=30_000)
    assert re.search("sell the .* chair .* dollars", bench.text)
