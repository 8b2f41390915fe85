"""`lithophone-client listen`, against a server that says what a test has it say."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import sys
import threading
import time
import wave
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from lithophone_client import LithophoneError, StreamFailedError, UnexpectedResponseError
from lithophone_client.listening.captions import Caption, Captions, subtitle
from lithophone_client.listening.command import main
from lithophone_client.listening.sources import mono, open_source

TRANSCRIPTION = "conversation.item.input_audio_transcription"


def event(kind: str, **fields: Any) -> str:
    return json.dumps({"type": kind, "event_id": "e", **fields})


TURN = (
    event("session.created", session={"type": "transcription"}),
    event("input_audio_buffer.speech_started", item_id="a", audio_start_ms=700),
    event(f"{TRANSCRIPTION}.delta", item_id="a", delta="One "),
    event(f"{TRANSCRIPTION}.delta", item_id="a", delta="two"),
    event("input_audio_buffer.speech_stopped", item_id="a", audio_end_ms=3_661_005),
    event("input_audio_buffer.committed", item_id="a", previous_item_id=None),
    event("conversation.item.added", item={"id": "a"}, previous_item_id=None),
    event(f"{TRANSCRIPTION}.completed", item_id="a", transcript="One two", usage={}),
)


class TestCaptions:
    def test_words_are_under_way_until_their_turn_is_over(self) -> None:
        captions = Captions("end")
        told = [(captions.take(frame, 9.0), captions.under_way) for frame in TURN]
        assert [text for _, text in told] == ["", "", "One", *["One two"] * 4, ""]
        assert [caption for caption, _ in told if caption] == [Caption("One two", 0.7, 3661.005)]

    def test_it_is_over_when_all_that_was_committed_is_told(self) -> None:
        captions = Captions("end")
        captions.take(event("input_audio_buffer.committed", item_id="a"), 0)
        captions.take(event("input_audio_buffer.cleared"), 0)
        assert not captions.is_over
        assert captions.take(event(f"{TRANSCRIPTION}.completed", item_id="a", transcript=" "), 0) is None
        assert captions.is_over

    def test_a_turn_that_no_silence_ended_ends_with_the_audio(self) -> None:
        captions = Captions("end")
        captions.take(event("input_audio_buffer.speech_started", item_id="a", audio_start_ms=500), 1.0)
        final = captions.take(event(f"{TRANSCRIPTION}.completed", item_id="a", transcript="yes"), 2.5)
        assert final == Caption("yes", 0.5, 2.5)

    def test_nothing_to_commit_at_the_end_is_no_error(self) -> None:
        error = {"code": "input_audio_buffer_commit_empty", "message": "m", "event_id": "end"}
        assert Captions("end").take(event("error", error=error), 0) is None
        with pytest.raises(StreamFailedError, match="m"):
            Captions("other").take(event("error", error=error), 0)

    @pytest.mark.parametrize("frame", ["no json", b"\xff", "[]", "{}"])
    def test_what_is_no_event_is_an_error(self, frame: str | bytes) -> None:
        with pytest.raises(UnexpectedResponseError):
            Captions("end").take(frame, 0)

    def test_a_subtitle_is_a_block_of_subrip(self) -> None:
        block = subtitle(3, Caption("One two", 0.7, 3661.005))
        assert block == "3\n00:00:00,700 --> 01:01:01,005\nOne two\n\n"


def write_wav(path: Path, frames: bytes, *, rate: int = 16_000, channels: int = 1, width: int = 2) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(frames)
    return path


async def everything(pieces: Any) -> bytes:
    return b"".join([piece async for piece in pieces])


def read_source(what: str | None, **how: Any) -> bytes:
    async def scenario() -> bytes:
        return await everything(open_source(what, rate=24_000, device=None, **how).pieces)

    return asyncio.run(scenario())


class TestSources:
    def test_a_file_comes_at_its_own_speed(self, tmp_path: Path) -> None:
        path = write_wav(tmp_path / "talk.wav", bytes(16_000))
        began = time.monotonic()
        assert read_source(str(path)) == bytes(16_000)
        assert 0.5 <= time.monotonic() - began < 5

    @given(st.lists(st.integers(-32_768, 32_767), max_size=20))
    def test_channels_become_their_mean(self, samples: list[int]) -> None:
        stereo = array("h", [value for sample in samples for value in (sample, sample)])
        assert mono(stereo.tobytes(), 2) == array("h", samples).tobytes()
        assert mono(array("h", [100, 300]).tobytes(), 2) == array("h", [200]).tobytes()

    def test_standard_input_is_raw_samples(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"abcdef")))
        assert read_source("-") == b"abcdef"

    def test_what_is_no_wav_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "no.wav").write_bytes(b"RIFF")
        for path in (tmp_path / "no.wav", tmp_path / "none.wav"):
            with pytest.raises(LithophoneError, match=path.name):
                open_source(str(path), rate=24_000, device=None)
        path = write_wav(tmp_path / "bytes.wav", bytes(8), width=1)
        with pytest.raises(LithophoneError, match="16 bit"):
            open_source(str(path), rate=24_000, device=None)

    def test_a_microphone_is_sounddevices(self, monkeypatch: pytest.MonkeyPatch) -> None:
        opened: list[dict[str, Any]] = []

        class Microphone:
            def __init__(self, callback: Callable[..., None], **options: Any) -> None:
                opened.append(options)
                self._thread = threading.Thread(target=lambda: [callback(b"ab", 1) for _ in range(3)])

            def __enter__(self) -> None:
                self._thread.start()

            def __exit__(self, *_: object) -> None:
                self._thread.join()

        module = ModuleType("sounddevice")
        module.__dict__.update(RawInputStream=Microphone, PortAudioError=OSError)
        monkeypatch.setitem(sys.modules, "sounddevice", module)

        async def scenario() -> bytes:
            pieces = open_source(None, rate=24_000, device="2").pieces
            heard = [await anext(pieces) for _ in range(3)]
            await pieces.aclose()
            return b"".join(heard)

        assert asyncio.run(scenario()) == b"ababab"
        assert (opened[0]["samplerate"], opened[0]["device"], opened[0]["dtype"]) == (24_000, 2, "int16")

    def test_no_microphone_library_is_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "sounddevice", None)
        with pytest.raises(LithophoneError, match=r"lithophone-client\[listen\]"):
            open_source(None, rate=24_000, device=None)


class Server:
    """What it was sent."""

    def __init__(self) -> None:
        self.url = ""
        self.events: list[dict[str, Any]] = []
        self.headers: list[str | None] = []


@contextmanager
def saying(*frames: str, close: bool = False) -> Iterator[Server]:
    """A server that says these frames at the client's commit."""
    server = Server()

    def talk(socket: ServerConnection) -> None:
        assert socket.request is not None
        server.headers.append(socket.request.headers.get("Authorization"))
        try:
            for received in socket:
                server.events.append(json.loads(received))
                if server.events[-1]["type"] == "input_audio_buffer.commit":
                    for frame in frames:
                        socket.send(frame)
                    if close:
                        return
        except ConnectionClosed:
            pass

    with serve(talk, "127.0.0.1", 0) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        server.url = f"http://127.0.0.1:{listening.socket.getsockname()[1]}"
        yield server
        listening.shutdown()
        thread.join()


CLEARED = event("input_audio_buffer.cleared")


@pytest.fixture
def talk(tmp_path: Path) -> str:
    return str(write_wav(tmp_path / "talk.wav", bytes(6_400)))


def test_final_lines_are_printed_and_all_audio_is_sent(talk: str, capsys: pytest.CaptureFixture[str]) -> None:
    with saying(*TURN, CLEARED) as server:
        assert main(["listen", talk, "--url", f"{server.url}/v1/", "--api-key", "k", "--delay", "low"]) == 0
    assert capsys.readouterr() == ("One two\n", "")
    assert server.headers == ["Bearer k"]
    kinds = [sent["type"].rpartition(".")[2] for sent in server.events]
    assert kinds == ["update", *["append"] * 4, "commit", "clear"]
    audio_input = server.events[0]["session"]["audio"]["input"]
    assert audio_input == {
        "format": {"type": "audio/pcm", "rate": 16_000},
        "transcription": {"delay": "low"},
        "turn_detection": {"type": "server_vad"},
    }
    sent = b"".join(base64.b64decode(one["audio"]) for one in server.events if "audio" in one)
    assert sent == bytes(6_400)


def test_subtitles_go_to_a_file(talk: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "talk.srt"
    with saying(*TURN, CLEARED) as server:
        flags = ["--format", "srt", "--output", str(output), "--url", server.url]
        assert main(["listen", talk, *flags]) == 0
    assert output.read_text() == "1\n00:00:00,700 --> 01:01:01,005\nOne two\n\n"
    assert capsys.readouterr() == ("", "")


def test_words_under_way_are_shown_in_place_on_a_terminal(talk: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with saying(*TURN, CLEARED) as server:
        assert main(["listen", talk, "--url", server.url]) == 0
    assert "\r\x1b[KOne two" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[K")


@pytest.mark.parametrize(
    ("frames", "close", "said"),
    [
        ((event("error", error={"message": "no model"}),), False, "no model"),
        ((event(f"{TRANSCRIPTION}.failed", item_id="a", error={"message": "broken"}),), False, "broken"),
        ((), True, "the connection broke"),
    ],
)
def test_what_fails_is_said(
    talk: str, capsys: pytest.CaptureFixture[str], *, frames: tuple[str, ...], close: bool, said: str
) -> None:
    with saying(*frames, close=close) as server:
        assert main(["listen", talk, "--url", server.url]) == 2
    assert said in capsys.readouterr().err


def test_no_server_is_said(talk: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["listen", talk, "--url", "http://127.0.0.1:9"]) == 2
    assert "lithophone-client: cannot connect to http://127.0.0.1:9: " in capsys.readouterr().err


def test_a_file_that_is_no_wav_says_how_it_is_played(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a talk.mp3"
    path.write_bytes(b"ID3 and so on")
    assert main(["listen", str(path)]) == 2
    assert (
        f"ffmpeg -re -i '{path}' -f s16le -ar 24000 -ac 1 - | lithophone-client listen -"
        in capsys.readouterr().err
    )


def test_a_file_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["listen", str(tmp_path / "talk.wav")]) == 2
    assert f"{tmp_path / 'talk.wav'} cannot be read: No such file" in capsys.readouterr().err
