"""How sessions end, each in one way, and that nothing of them is left."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import random
import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile
from structlog.testing import capture_logs
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from lithophone.audio.waveform import pcm16_from_waveform
from lithophone.http.realtime import conversation
from lithophone.http.realtime.places import LivePlaces
from tests.conftest import START_SECONDS, start_server
from tests.engine.dictation.spoken import VOCABULARY, SpokenBackend, spoken
from tests.figures.recording import SPEECH
from tests.http.conftest import Live, eventually
from tests.http.realtime.conftest import PATH, PCM_16K, WAIT_SECONDS, Event, Talk, live_serving, talking

COMPLETED = "conversation.item.input_audio_transcription.completed"
LEAVERS = 60
STAYERS = 6


def closed(talk: Talk) -> tuple[int, str]:
    """Read on to the end; the code and reason it closes with."""
    with suppress(ConnectionClosed):
        while True:
            talk.receive()
    end = talk.socket.protocol.close_rcvd
    assert end is not None
    return end.code, end.reason


def nothing_left(live: Live, places: LivePlaces) -> bool:
    return places.taken == 0 and live.host.is_idle


@pytest.mark.parametrize(
    ("limits", "code"),
    [({"live_idle_seconds": 0.3}, "session_idle"), ({"live_session_seconds": 0.3}, "session_expired")],
)
def test_a_session_that_takes_too_long_ends_in_one_event(limits: dict[str, Any], code: str) -> None:
    places = LivePlaces(8)
    with live_serving(places=places, **limits) as live:
        with talking(live) as talk:
            assert closed(talk)[0] == 1000
            assert [event["type"] for event in talk.events] == ["session.created", "error"]
            error = talk.events[-1]["error"]
            assert (error["code"], error["event_id"]) == (code, None)
        eventually(lambda: nothing_left(live, places))


def test_what_is_sent_keeps_a_session_from_being_idle() -> None:
    with live_serving(live_idle_seconds=0.6) as live, talking(live) as talk:
        talk.configure(turn_detection=None)
        for word in (1, 2, 3, 4):
            time.sleep(0.3)
            talk.say(spoken(word))
        assert talk.commit()["transcript"] == "one two three four"


def test_a_frame_that_is_too_large_closes_the_socket(talk: Talk) -> None:
    talk.socket.socket.sendall(b"\x81\xff" + (22 << 20).to_bytes(8, "big") + bytes(4))  # its head says enough
    assert closed(talk)[0] == 1009


def test_a_client_that_reads_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversation, "SEND_SECONDS", 0.3)
    monkeypatch.setattr(conversation, "FAREWELL_SECONDS", 0.3)
    places = LivePlaces(8)
    with live_serving(places=places) as live, socket.socket() as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.connect(("127.0.0.1", int(live.url.rpartition(":")[2])))
        with connect(f"ws://127.0.0.1{PATH}", sock=plain, max_queue=1, close_timeout=0.1) as client:
            update: Event = {"audio": {"input": {"transcription": {"prompt": "a" * 200_000}}}}
            with suppress(ConnectionClosed):
                for _ in range(100):
                    client.send(json.dumps({"type": "session.update", "session": update}))
                    update = {}
            eventually(lambda: nothing_left(live, places))
        with talking(live) as talk:
            assert talk.receive()["type"] == "session.created"


def test_a_client_that_vanishes_leaves_nothing() -> None:
    """Its last word is still with the model."""
    places, backend = LivePlaces(8), SpokenBackend(delay_seconds=30.0)
    with live_serving(lambda: backend, places=places) as live:
        with talking(live) as talk:
            talk.configure(turn_detection=None)
            talk.say(spoken(1, 2, 3))
            talk.send("input_audio_buffer.commit")
            eventually(lambda: len(backend.calls) > 0)
            talk.socket.socket.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0])
            )
            talk.socket.socket.close()  # a reset, no close frame
        eventually(lambda: nothing_left(live, places))


def test_an_error_of_ours_is_one_event_and_a_line_of_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a secret of the server")

    places = LivePlaces(8)
    with live_serving(places=places) as live, talking(live) as talk, capture_logs() as logs:
        talk.receive()
        monkeypatch.setattr(conversation, "parse", broken)
        talk.send("input_audio_buffer.clear")
        assert closed(talk)[0] == 1011
        assert talk.events[-1]["error"]["type"] == "server_error"
        assert "secret" not in talk.events[-1]["error"]["message"]
        eventually(lambda: nothing_left(live, places))
        assert any("secret" in repr(entry) for entry in logs)


def append_of(word: int) -> str:
    audio = base64.b64encode(pcm16_from_waveform(spoken(word))).decode()
    return json.dumps({"type": "input_audio_buffer.append", "audio": audio})


UPDATE = json.dumps(
    {"type": "session.update", "session": {"audio": {"input": {"format": PCM_16K, "turn_detection": None}}}}
)
COMMIT = json.dumps({"type": "input_audio_buffer.commit"})


async def stay(url: str, words: list[int]) -> str:
    async with connect_async(url, compression=None) as client:
        await client.send(UPDATE)
        for word in words:
            await client.send(append_of(word))
            await asyncio.sleep(0.02)
        await client.send(COMMIT)
        while (event := json.loads(await client.recv()))["type"] != COMPLETED:
            assert event["type"] != "error", event
        return event["transcript"]


async def leave(url: str, frames: list[str], *, abruptly: bool) -> None:
    async with connect_async(url, compression=None) as client:
        for frame in frames:
            await client.send(frame)
        if abruptly:
            client.transport.abort()


def test_sessions_that_are_cut_anywhere_do_nothing_to_those_that_stay() -> None:
    chance = random.Random(22)  # noqa: S311 - the same cuts each time
    places, backend = LivePlaces(LEAVERS + STAYERS), SpokenBackend()
    texts = [[chance.randrange(10) for _ in range(12)] for _ in range(STAYERS)]
    script = [UPDATE, *(append_of(chance.randrange(10)) for _ in range(8)), COMMIT, *map(append_of, (1, 2))]
    with live_serving(lambda: backend, places=places) as live:
        url = live.url.replace("http", "ws") + PATH

        async def everybody() -> list[str]:
            async with asyncio.timeout(3 * WAIT_SECONDS), asyncio.TaskGroup() as tasks:
                staying = [tasks.create_task(stay(url, words)) for words in texts]
                for _ in range(LEAVERS):
                    frames = script[: chance.randrange(len(script) + 1)]
                    tasks.create_task(leave(url, frames, abruptly=chance.random() < 0.5))
                    await asyncio.sleep(0.005)
            return [task.result() for task in staying]

        assert [text.split() for text in asyncio.run(everybody())] == [
            [VOCABULARY[word] for word in words] for words in texts
        ]
        eventually(lambda: nothing_left(live, places))
        grown = {request.live.key for call in backend.calls for request in call if request.live}
        assert grown
        eventually(lambda: grown <= set(backend.forgotten))
        assert live.transcribe().status_code == 200


class RealServer:
    """`lithophone serve`, its models in processes of their own."""

    def __init__(self) -> None:
        self.process, self.url = start_server("--shutdown-grace-seconds", "30")

    @property
    def worker(self) -> psutil.Process:
        found = [
            child
            for child in psutil.Process(self.process.pid).children()
            if "child" in " ".join(child.cmdline())
        ]
        return found[0]


@pytest.fixture(scope="module")
def real() -> Iterator[RealServer]:
    server = RealServer()
    yield server
    server.process.kill()
    server.process.communicate()


def clip(name: str) -> bytes:
    samples, _ = soundfile.read(SPEECH / name, dtype="int16")
    return np.asarray(samples).tobytes()


def normalised(text: str) -> list[str]:
    return "".join(letter for letter in text.casefold() if letter.isalpha() or letter == " ").split()


def speak(talk: Talk, pcm: bytes) -> None:
    for start in range(0, len(pcm), 3200):
        talk.append(pcm[start : start + 3200])


def begun(server: RealServer) -> Talk:
    talk = Talk(connect(server.url.replace("http", "ws") + PATH, compression=None), START_SECONDS)
    talk.configure(turn_detection=None)
    return talk


@pytest.fixture(scope="module")
def expected(real: RealServer) -> list[str]:
    """What a session that nobody disturbs hears."""
    talk = begun(real)
    speak(talk, clip("flite-short-03.ogg"))
    text = normalised(talk.commit()["transcript"])
    talk.socket.close()
    assert len(text) > 1
    return text


def test_a_worker_that_is_killed_costs_a_session_nothing_but_time(
    real: RealServer, expected: list[str]
) -> None:
    talk = begun(real)
    pcm = clip("flite-short-03.ogg")
    speak(talk, pcm[: len(pcm) // 2])
    real.worker.kill()
    speak(talk, pcm[len(pcm) // 2 :])
    end = talk.commit()
    assert normalised(end["transcript"]) == expected
    assert end["transcript"] == talk.deltas()
    talk.socket.close()


def test_a_server_that_ends_tells_what_it_has_heard(real: RealServer, expected: list[str]) -> None:
    """The last test of this module: it ends the server."""
    talk, idle = begun(real), begun(real)
    speak(talk, clip("flite-short-03.ogg"))
    talk.configure()  # everything before it was read
    os.kill(real.process.pid, signal.SIGTERM)
    assert normalised(talk.until(COMPLETED)["transcript"]) == expected
    assert closed(talk) == (1012, "The server is shutting down.")
    assert closed(idle) == (1012, "The server is shutting down.")
    assert "error" not in {event["type"] for event in (*talk.events, *idle.events)}
    assert real.process.wait(START_SECONDS) == 0


def test_a_session_outlasts_the_time_that_the_head_of_a_request_may_take() -> None:
    with live_serving(head_seconds=0.3) as live, talking(live) as talk:
        talk.receive()
        time.sleep(0.6)
        talk.configure(turn_detection=None)


def test_how_far_sessions_are_behind_is_a_figure() -> None:
    with live_serving() as live, talking(live) as talk:
        talk.receive()
        talk.configure(turn_detection=None)
        talk.say(spoken(1, 2, 3))
        talk.commit()
        figures = live.client.get("/metrics").text
        heard = re.search(r"^lithophone_live_lag_seconds_count (\S+)$", figures, re.MULTILINE)
        assert heard is not None
        assert float(heard[1]) >= 1
