"""Live sessions over real sockets, with a model that reads words off the samples."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import numpy as np
import pytest
from websockets.sync.client import connect
from websockets.sync.connection import Connection

from lithophone.audio.waveform import Waveform, pcm16_from_waveform
from lithophone.backends.base import Backend
from lithophone.backends.fake import LoudnessDetector
from lithophone.granite.family import ModelSpec
from lithophone.http.options import HttpOptions
from lithophone.http.realtime.places import LivePlaces
from tests.engine.dictation.spoken import SPEC, SpokenBackend
from tests.http.conftest import Live, serving

Event = dict[str, Any]

PUBLISHED = msgspec.structs.replace(SPEC, stands_for=None, least_logprob=None)
WAIT_SECONDS = 20.0
PATH = "/v1/realtime?intent=transcription"
FRAME_SAMPLES = 1200  # 50 ms at 24 kHz, as livekit sends it
PCM_16K: Event = {"type": "audio/pcm", "rate": 16_000}  # words are read off the samples as they are
ENDS = {
    "conversation.item.input_audio_transcription.completed",
    "conversation.item.input_audio_transcription.failed",
}


class Talk:
    """A client of one session. Every event it reads is kept.

    Attributes:
        events: All of them, in order.
    """

    def __init__(self, socket: Connection, wait_seconds: float = WAIT_SECONDS) -> None:
        self.socket = socket
        self._wait_seconds = wait_seconds
        self.events: list[Event] = []

    def send(self, kind: str, **fields: Any) -> None:
        self.socket.send(json.dumps({"type": kind, **fields}))

    def receive(self) -> Event:
        self.events.append(json.loads(self.socket.recv(self._wait_seconds)))
        return self.events[-1]

    def until(self, *kinds: str) -> Event:
        """Read on until an event of one of these kinds; an error that was not waited for fails the test."""
        while (event := self.receive())["type"] not in kinds:
            assert event["type"] != "error", event
        return event

    def configure(self, **audio_input: Any) -> Event:
        """`session.update` of `audio.input`; returns the session as it is then."""
        session = {"type": "transcription", "audio": {"input": {"format": PCM_16K, **audio_input}}}
        self.send("session.update", session=session)
        return self.until("session.updated")["session"]

    def append(self, pcm: bytes) -> None:
        self.send("input_audio_buffer.append", audio=base64.b64encode(pcm).decode())

    def say(self, samples: Waveform) -> None:
        """Audio at 16 kHz, in frames."""
        for start in range(0, len(samples), FRAME_SAMPLES):
            self.append(pcm16_from_waveform(samples[start : start + FRAME_SAMPLES]))

    def commit(self, **fields: Any) -> Event:
        """Commit, and read on to the end of the item; returns that."""
        self.send("input_audio_buffer.commit", **fields)
        return self.until(*ENDS)

    def kinds(self) -> list[str]:
        """The types of the events, without what they share."""
        return [event["type"].removeprefix("input_audio_buffer.") for event in self.events]

    def deltas(self, item_id: str | None = None) -> str:
        return "".join(
            event["delta"]
            for event in self.events
            if event["type"].endswith(".delta") and item_id in {None, event["item_id"]}
        )

    def last(self, kind: str) -> Event:
        return next(event for event in reversed(self.events) if event["type"] == kind)


@contextmanager
def talking(
    live: Live,
    path: str = PATH,
    *,
    protocols: Sequence[str] = (),
    headers: dict[str, str] | None = None,
    url: str | None = None,
) -> Iterator[Talk]:
    """A session that has begun, at another address where one is told."""
    with connect(
        (url or live.url).replace("http", "ws") + path,
        subprotocols=list(protocols) or None,  # pyright: ignore[reportArgumentType] - plain strings will do
        additional_headers=headers,
        compression=None,
        max_size=None,
    ) as socket:
        yield Talk(socket)


@contextmanager
def live_serving(
    open_backend: Callable[[], Backend] = SpokenBackend,
    *,
    places: LivePlaces | None = None,
    spec: ModelSpec = PUBLISHED,
    head_seconds: float = WAIT_SECONDS,
    **options: Any,
) -> Iterator[Live]:
    """A server with live sessions; its model does not pass for a demonstration, whose warnings nobody waits for."""
    with serving(
        open_backend,
        voice=LoudnessDetector(),
        places=places or LivePlaces(8),
        options=HttpOptions(**options),
        spec=spec,
        head_seconds=head_seconds,
    ) as live:
        yield live


@pytest.fixture(scope="package")
def live() -> Iterator[Live]:
    """A server shared by the tests of this folder."""
    with live_serving() as live:
        yield live


@pytest.fixture
def talk(live: Live) -> Iterator[Talk]:
    """A session of the shared server, its first event read."""
    with talking(live) as talk:
        assert talk.receive()["type"] == "session.created"
        yield talk


def tone_24k(seconds: float) -> bytes:
    """PCM16 at 24 kHz of a sound."""
    times = np.arange(round(seconds * 24_000)) / 24_000
    return pcm16_from_waveform((0.3 * np.sin(2 * np.pi * 220 * times)).astype(np.float32))
