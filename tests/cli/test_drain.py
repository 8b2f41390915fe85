"""The end of a terminal while somebody still asks: SIGHUP drains as SIGTERM does."""

import io
import json
import os
import signal
import subprocess
import wave
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

import httpx
import numpy as np
import pytest
import soundfile
from websockets.sync.client import connect

from tests.conftest import START_SECONDS, start_server
from tests.figures.recording import SPEECH
from tests.http.conftest import SAMPLE_RATE, error_of
from tests.http.realtime.conftest import PATH, Talk
from tests.http.realtime.test_ends import COMPLETED, closed

CLIP = "flite-short-03.ogg"
TIMES = 30  # so that its end is far when the signal comes
SERVICE_RESTART = 1012  # of RFC 6455's registry


def spoken(times: int) -> bytes:
    """A clip again and again, as s16le PCM."""
    samples, _ = soundfile.read(SPEECH / CLIP, dtype="int16")
    return np.tile(np.asarray(samples), times).tobytes()


@pytest.fixture(scope="module")
def recording() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(2)
        written.setframerate(SAMPLE_RATE)
        written.writeframes(spoken(TIMES))
    return file.getvalue()


class Streamed(NamedTuple):
    """What a stream said: all deltas, and its last event."""

    text: str
    last: dict[str, Any]


class UnderWay(NamedTuple):
    """What was asked for and is not answered yet."""

    whole: Future[httpx.Response]
    streamed: Future[Streamed]
    talk: Talk


@contextmanager
def killed_by_failure(process: subprocess.Popen[str]) -> Iterator[None]:
    """Nobody waits for a server that was told nothing."""
    try:
        yield
    except BaseException:
        process.kill()
        raise


@contextmanager
def interrupted(recording: bytes, grace_seconds: int) -> Iterator[UnderWay]:
    """A server whose terminal ends while it answers a whole request, a stream and a live session, and that then ends itself."""
    # Under nohup it is ignored, by the server too, which would then outlive the terminal, as it should.
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    process, url = start_server("--shutdown-grace-seconds", str(grace_seconds))
    signal.signal(signal.SIGHUP, before)
    with (
        process,
        killed_by_failure(process),
        ThreadPoolExecutor() as pool,
        httpx.Client(base_url=url, timeout=START_SECONDS) as client,
        closing(connect(url.replace("http", "ws") + PATH, compression=None)) as socket,
    ):
        talk = Talk(socket, START_SECONDS)
        talk.configure(turn_detection=None)
        talk.append(spoken(1))
        talk.configure()  # what was said before is read by then
        whole = pool.submit(client.post, **form(recording, "false"))
        with client.stream("POST", **form(recording, "true")) as response:
            events = (
                line.removeprefix("data: ") for line in response.iter_lines() if line.startswith("data: {")
            )
            first = json.loads(next(events))["delta"]
            assert not whole.done()
            os.kill(process.pid, signal.SIGHUP)
            yield UnderWay(whole, pool.submit(rest, first, events), talk)
        assert process.wait(timeout=START_SECONDS) == 0


def form(recording: bytes, stream: str) -> dict[str, Any]:
    """An upload, as httpx takes it."""
    return {
        "url": "/v1/audio/transcriptions",
        "files": {"file": ("speech.wav", recording)},
        "data": {"model": "whisper-1", "stream": stream},
    }


def rest(first: str, events: Iterator[str]) -> Streamed:
    """Read on to the last event."""
    text, last = first, dict[str, Any]()
    for event in events:
        last = json.loads(event)
        text += last.get("delta", "")
    return Streamed(text, last)


def test_the_end_of_a_terminal_lets_what_is_under_way_finish(recording: bytes) -> None:
    with interrupted(recording, 120) as under_way:
        assert under_way.talk.until(COMPLETED)["transcript"] == under_way.talk.deltas() != ""
        assert closed(under_way.talk)[0] == SERVICE_RESTART
        streamed, whole = under_way.streamed.result(), under_way.whole.result()
        assert whole.status_code == 200
        assert streamed.last["type"] == "transcript.text.done"
        assert streamed.last["text"] == streamed.text == whole.json()["text"]
        assert len(streamed.text) > 2 * TIMES


def test_the_end_of_a_terminal_tells_what_it_cuts(recording: bytes) -> None:
    with interrupted(recording, 0) as under_way:
        assert closed(under_way.talk)[0] == SERVICE_RESTART
        assert error_of(under_way.whole.result(), 503)["code"] == "shutting_down"
        assert under_way.streamed.result().last["error"]["code"] == "shutting_down"
