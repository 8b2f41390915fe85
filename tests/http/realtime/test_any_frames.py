"""Any frames in any order: no end but the client's, one end for each item, and every event is one."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lithophone.audio.waveform import pcm16_from_waveform
from lithophone.backends.fake import LoudnessDetector, PlainRuntime
from lithophone.hosts.models import Models
from lithophone.hosts.supervised import SupervisedHost
from lithophone.hosts.thread import in_thread
from lithophone.http.catalogue import Catalogue
from lithophone.http.realtime.conversation import Conversation, Limits, Socket
from lithophone.http.realtime.places import LivePlaces
from tests.engine.dictation.spoken import SPEC, SpokenBackend, silence, spoken
from tests.http.realtime.conftest import ENDS, PCM_16K, Event

WAIT_SECONDS = 60.0
CLIENT_GONE = {"type": "websocket.disconnect", "code": 1000}

TURNS = st.sampled_from(
    [
        None,
        {"type": "server_vad", "silence_duration_ms": 200},
        {"type": "semantic_vad", "eagerness": "high"},
        {"type": "nothing"},
        7,
    ]
)
INPUTS = st.fixed_dictionaries(
    {},
    optional={
        "format": st.sampled_from(
            [PCM_16K, {"type": "audio/pcm"}, {"type": "audio/pcmu"}, {"type": "x"}, None]
        ),
        "turn_detection": TURNS,
        "transcription": st.none()
        | st.fixed_dictionaries(
            {},
            optional={
                "model": st.sampled_from(["whisper-1", "gpt-live-transcribe", "no-model", None]),
                "language": st.sampled_from(["en", "xx", ""]),
                "keywords": st.lists(st.text(max_size=5), max_size=2),
                "prompt": st.text(max_size=10),
                "delay": st.sampled_from(["minimal", "high", "xhigh", "no"]),
            },
        ),
        "noise_reduction": st.sampled_from([None, {"type": "near_field"}, []]),
    },
)
UPDATES = st.builds(
    lambda kind, audio_input: {"type": kind, "session": {"audio": {"input": audio_input}}},
    st.sampled_from(["session.update", "session.update", "transcription_session.update"]),
    INPUTS,
)
SPEECH = st.builds(
    lambda words, pause: pcm16_from_waveform(spoken(*words, pause_seconds=pause)),
    st.lists(st.integers(0, 9), min_size=1, max_size=5),
    st.floats(0, 1.0),
)
AUDIO = SPEECH | st.binary(max_size=700) | st.floats(0, 1.0).map(lambda s: pcm16_from_waveform(silence(s)))
APPENDS = AUDIO.map(
    lambda pcm: {"type": "input_audio_buffer.append", "audio": base64.b64encode(pcm).decode()}
)
OTHERS = st.sampled_from(
    [
        {"type": "input_audio_buffer.commit", "event_id": "mine"},
        {"type": "input_audio_buffer.commit"},
        {"type": "input_audio_buffer.clear"},
        {"type": "response.create"},
        {"type": "input_audio_buffer.append", "audio": "%"},
        {"type": 3},
        {},
    ]
)
TEXTS = st.one_of(APPENDS, APPENDS, OTHERS, UPDATES).map(json.dumps) | st.text(max_size=8)
FRAMES = st.one_of(
    TEXTS.map(lambda text: {"type": "websocket.receive", "text": text}),
    TEXTS.map(lambda text: {"type": "websocket.receive", "text": text}),
    st.binary(max_size=8).map(lambda raw: {"type": "websocket.receive", "bytes": raw}),
)


class Client:
    """Sends frames, waits until everything committed has ended, and leaves."""

    def __init__(self, frames: list[dict[str, Any]]) -> None:
        self._frames = iter(frames)
        self.events: list[Event] = []
        self._told = asyncio.Event()

    def count(self, *kinds: str) -> int:
        return sum(event["type"] in kinds for event in self.events)

    async def receive(self) -> dict[str, Any]:
        frame = next(self._frames, None)
        if frame is not None:
            return frame
        while self.count(*ENDS) < self.count("input_audio_buffer.committed"):
            self._told.clear()
            await self._told.wait()
        return CLIENT_GONE

    async def send(self, message: dict[str, Any]) -> None:
        assert message["type"] == "websocket.send", message
        self.events.append(json.loads(message["text"]))
        self._told.set()


class House:
    """A model that stays for all clients, and the loop they live in."""

    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.host = SupervisedHost(SPEC.id, SPEC, in_thread(SpokenBackend, PlainRuntime()))
        self.models = Models([self.host])
        self.runner.run(self._start())

    async def _start(self) -> None:
        self.models.start()

    def close(self) -> None:
        self.runner.run(self.models.stop())
        self.runner.close()

    async def talk(self, client: Client) -> None:
        conversation = Conversation(
            Socket(client.receive, client.send),
            models=self.models,
            catalogue=Catalogue(self.models, {}),
            voice=LoudnessDetector(),
            limits=Limits(WAIT_SECONDS, WAIT_SECONDS),
            places=LivePlaces(1),
            document={},
            beta=False,
        )
        await asyncio.wait_for(conversation.run(), WAIT_SECONDS)
        assert self.host.is_idle


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    house = House()
    yield house
    house.close()


def check(house: House, frames: list[dict[str, Any]]) -> None:
    client = Client(frames)
    house.runner.run(house.talk(client))
    committed = [e["item_id"] for e in client.events if e["type"] == "input_audio_buffer.committed"]
    ends = [event for event in client.events if event["type"] in ENDS]
    assert [event["item_id"] for event in ends] == committed[: len(ends)]
    assert len(ends) == len(committed)
    for end in ends:
        deltas = [
            e["delta"]
            for e in client.events
            if e["type"].endswith(".delta") and e["item_id"] == end["item_id"]
        ]
        assert end["transcript"] == "".join(deltas)
    errors = [event["error"] for event in client.events if event["type"] == "error"]
    assert all(error["type"] == "invalid_request_error" for error in errors)
    assert len({event["event_id"] for event in client.events}) == len(client.events)


@settings(max_examples=40)
@given(frames=st.lists(FRAMES, max_size=12))
def test_any_frames(house: House, frames: list[dict[str, Any]]) -> None:
    check(house, frames)


@pytest.mark.slow
@settings(max_examples=20_000)
@given(frames=st.lists(FRAMES, max_size=12))
def test_very_many_frames(house: House, frames: list[dict[str, Any]]) -> None:
    check(house, frames)
