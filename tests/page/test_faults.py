"""What goes wrong, as a person meets it: what happened and what to do is said, and no finished work is lost."""

from __future__ import annotations

import io
import threading
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile

from lithophone.backends.base import RecognitionRequest
from lithophone.errors import UndecodableAudioError
from lithophone.http.options import HttpOptions
from tests.conftest import start_server
from tests.http.conftest import SHORT, THREE_WINDOWS, serving
from tests.page.conftest import SPEECH, Opened, Workbench
from tests.relay import relayed


def recording(name: str, audio: bytes) -> dict[str, Any]:
    return {"name": name, "mimeType": "audio/wav", "buffer": audio}


LONG = recording("long.wav", THREE_WINDOWS)
BRIEF = recording("brief.wav", SHORT)


class Gate:
    """A model that hears its second window only when it is let to."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self._windows = 0

    def hear(self, _: RecognitionRequest) -> str:
        self._windows += 1
        if self._windows > 1:
            self.opened.wait(20)
        return f"window number {self._windows}"


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.opened.set()


def decoded(path: Path) -> bytes:
    """s16le mono 16 kHz."""
    samples, _ = soundfile.read(path, dtype="int16")
    return samples.tobytes()


def wav_file(pcm: bytes) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(pcm)
    return buffer.getvalue()


def test_a_refused_file_says_why_in_the_servers_words(opened: Opened) -> None:
    with serving() as live:
        bench = opened(live.url)
        bench.add({"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no sound in here"}, BRIEF)
        bench.becomes("notes.txt", "failed")
        bench.becomes("brief.wav", "done")  # the rest of the queue goes on
        bench.show("notes.txt")
        card = bench.page.get_by_role("alert").inner_text()
        assert "The audio is broken." in card
        assert "Choose another file." in card
        assert "req_" in card


def test_a_file_that_is_too_large_is_told_so(opened: Opened) -> None:
    with serving(options=HttpOptions(max_upload_bytes=100_000)) as live:
        bench = opened(live.url)
        bench.add(recording("large.wav", bytes(3_000_000)))
        bench.becomes("large.wav", "failed")
        assert "larger than" in bench.page.get_by_role("alert").inner_text()


def check_it_broke_off(bench: Workbench, heard: str) -> None:
    bench.becomes("long.wav", "failed")
    card = bench.page.locator(".problem-card").inner_text()
    assert "broke off" in card
    assert "kept" in card
    assert bench.text.startswith(heard)
    bench.page.get_by_text("The server cannot be reached.").wait_for()
    assert bench.item("brief.wav").get_attribute("data-status") == "waiting"


def test_a_network_that_drops_in_mid_transcript(opened: Opened, gate: Gate) -> None:
    with serving() as live, relayed(live.url) as wire:
        live.script.hear = gate.hear
        bench = opened(wire.url)
        bench.add(LONG, BRIEF)
        bench.show("long.wav")
        bench.page.get_by_text("window number 1").wait_for()
        wire.cut()
        check_it_broke_off(bench, "window number 1")
        gate.opened.set()
        wire.mend()
        bench.becomes("brief.wav", "done")
        assert bench.page.get_by_text("The server cannot be reached.").count() == 0
        bench.page.get_by_role("button", name="Start again").click()
        bench.becomes("long.wav", "done")


def test_a_server_that_is_killed_in_mid_transcript_and_comes_back(opened: Opened) -> None:
    speech = decoded(SPEECH / "espeak-long-14.ogg")
    process, url = start_server()
    try:
        bench = opened(url)
        bench.add(recording("long.wav", wav_file(speech * 8)), recording("brief.wav", wav_file(speech)))
        bench.show("long.wav")
        bench.page.get_by_text("my name is mike").first.wait_for()
        process.kill()
        process.communicate()
        check_it_broke_off(bench, "my name is mike")
        process, _ = start_server("--port", url.rsplit(":", 1)[1])
        bench.becomes("brief.wav", "done")
    finally:
        process.kill()
        process.communicate()


def test_a_failure_in_mid_stream_is_told_in_the_servers_words(opened: Opened) -> None:
    with serving() as live:
        live.script.failure = UndecodableAudioError("The second half is broken.", param="file")
        live.script.seconds_before_failure = 40
        bench = opened(live.url)
        bench.add(LONG)
        bench.becomes("long.wav", "failed")
        assert "The second half is broken." in bench.page.locator(".problem-card").inner_text()
        assert bench.text.startswith("heard ")


def test_a_reload_in_mid_transcript_keeps_what_is_there_and_the_queue(opened: Opened, gate: Gate) -> None:
    with serving() as live:
        live.script.hear = gate.hear
        bench = opened(live.url)
        bench.add(LONG, BRIEF)
        bench.show("long.wav")
        bench.page.get_by_text("window number 1").wait_for()
        bench.page.wait_for_timeout(600)  # what is heard is written down every now and then
        bench.page.reload()
        gate.opened.set()
        bench.becomes("long.wav", "interrupted")
        bench.becomes("brief.wav", "done")
        bench.show("long.wav")
        assert bench.text == "window number 1"
        assert "closed or reloaded" in bench.page.locator(".problem-card").inner_text()
        bench.page.get_by_role("button", name="Start again").click()
        bench.becomes("long.wav", "done")
        assert bench.text.count("window number") == 3


def test_a_microphone_that_is_denied(opened: Opened) -> None:
    with serving() as live:
        bench = opened(live.url, microphone=False)
        bench.page.get_by_role("button", name="Record").click()
        assert "not allowed" in bench.page.get_by_role("alert").inner_text()


def test_a_busy_server_is_asked_again(opened: Opened, gate: Gate) -> None:
    with serving(max_requests=1, wait_seconds=0.2) as live:
        live.script.hear = gate.hear
        other = threading.Thread(target=live.transcribe, args=(THREE_WINDOWS,))
        other.start()
        bench = opened(live.url)
        bench.add(BRIEF)
        bench.page.get_by_text("The server is busy").first.wait_for()
        gate.opened.set()
        bench.becomes("brief.wav", "done")
        other.join()


def test_a_key_is_asked_for_and_kept(opened: Opened) -> None:
    with serving(options=HttpOptions(api_keys=("open sesame",))) as live:
        bench = opened(live.url)
        bench.page.get_by_role("textbox", name="Key").fill("wrong")
        bench.page.keyboard.press("Enter")
        bench.page.get_by_text("Incorrect API key.").wait_for()
        bench.page.get_by_role("textbox", name="Key").fill("open sesame")
        bench.page.keyboard.press("Enter")
        bench.page.get_by_role("dialog").wait_for(state="hidden")
        bench.page.reload()
        bench.add(BRIEF)
        bench.becomes("brief.wav", "done")
        assert "sesame" not in bench.page.content()


def test_who_has_no_key_yet_may_close_the_question_and_come_back_to_it(opened: Opened) -> None:
    with serving(options=HttpOptions(api_keys=("open sesame",))) as live:
        bench = opened(live.url)
        bench.page.get_by_role("textbox", name="Key").wait_for()
        bench.page.keyboard.press("Escape")
        bench.page.get_by_role("dialog").wait_for(state="hidden")
        bench.add(BRIEF)
        bench.becomes("brief.wav", "waiting")
        bench.page.get_by_role("button", name="Enter the key").click()
        bench.page.get_by_role("textbox", name="Key").fill("open sesame")
        bench.page.keyboard.press("Enter")
        bench.becomes("brief.wav", "done")
        assert bench.page.get_by_role("button", name="Enter the key").count() == 0


@pytest.mark.parametrize("format_", ["srt", "vtt", "txt", "json"])
def test_markup_that_is_said_stays_words(opened: Opened, format_: str) -> None:
    markup = "<img src=x onerror=document.body.remove()> & <script>alert(1)</script>"
    with serving() as live:
        live.script.hear = lambda _: markup
        bench = opened(live.url)
        bench.add(BRIEF)
        bench.becomes("brief.wav", "done")
        assert bench.text == markup
        assert bench.page.locator(".said img, .said script").count() == 0
        saved = bench.saved(format_)
        assert ("&lt;img" if format_ == "vtt" else "<img") in saved


def test_a_recording_in_which_nobody_speaks(opened: Opened) -> None:
    with serving() as live:
        live.script.hear = lambda _: ""
        bench = opened(live.url)
        bench.add(BRIEF)
        bench.becomes("brief.wav", "done")
        bench.page.get_by_text("Nothing was said").wait_for()


def test_sound_that_the_browser_cannot_play_is_transcribed_all_the_same(opened: Opened) -> None:
    with serving() as live:
        live.script.hear = lambda _: "heard all the same"
        bench = opened(live.url)
        bench.add({"name": "odd.spx", "mimeType": "", "buffer": b"\0" + SHORT})
        bench.becomes("odd.spx", "failed")  # the fake server reads WAV alone
        assert bench.page.locator(".player").count() == 0


def test_a_model_that_is_not_loaded_shows_its_size_and_is_loaded_by_a_button(opened: Opened) -> None:
    with serving() as live:
        live.unload()
        bench = opened(live.url)
        model = bench.page.get_by_test_id("model")
        assert "Not loaded" in model.inner_text()
        assert "5.6 million parameters" in model.inner_text()
        model.get_by_role("button", name="Load").click()
        model.get_by_text("Ready").wait_for()
