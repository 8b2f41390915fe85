"""Home Assistant's protocol, spoken by the client that comes with it, and by Home Assistant's own bytes."""

from __future__ import annotations

import asyncio
import io
import os
import socket
import wave
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from wyoming.asr import Transcribe, Transcript, TranscriptChunk, TranscriptStart, TranscriptStop
from wyoming.audio import AudioChunk, AudioStart, AudioStop, wav_to_chunks
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.event import Event, Eventable, async_read_event
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong
from zeroconf.asyncio import AsyncServiceBrowser, AsyncZeroconf

from lithophone.audio.decode import DecodedAudio
from lithophone.audio.stream import DecodeLimits
from lithophone.backends.fake import FakeBackend, PlainRuntime
from lithophone.doors.discovery import SERVICE, announced, announced_addresses
from lithophone.doors.wyoming import Door as OpenDoor
from lithophone.doors.wyoming import Hall, open_door
from lithophone.engine.admission import Admission
from lithophone.hosts.models import Models
from lithophone.hosts.supervised import SupervisedHost
from lithophone.hosts.thread import in_thread
from lithophone.http.telemetry import Traced, traces, untraced
from tests.collector import collecting
from tests.conftest import start_server
from tests.http.conftest import SHORT, SPEC, THREE_WINDOWS

SPEECH = Path(__file__).resolve().parents[2] / "examples" / "speech"


class Door:
    def __init__(self, port: int, backend: FakeBackend, admission: Admission, door: OpenDoor) -> None:
        self.port = port
        self.opened = door
        self.backend = backend
        self.admission = admission

    @asynccontextmanager
    async def client(self) -> AsyncGenerator[AsyncTcpClient]:
        client = AsyncTcpClient("127.0.0.1", self.port, read_timeout=20)
        async with client:
            yield client

    async def ask(self, *events: Eventable) -> list[Event]:
        """Send events; read until the answer is over."""
        async with self.client() as client:
            for event in events:
                await client.write_event(event.event())
            answers: list[Event] = []
            while (answer := await client.read_event()) is not None:
                answers.append(answer)
                if TranscriptStop.is_type(answer.type) or Error.is_type(answer.type):
                    break
            return answers


@asynccontextmanager
async def a_door(
    *, max_requests: int = 4, delay_seconds: float = 0.0, traced: Traced = untraced
) -> AsyncGenerator[Door]:
    backend = FakeBackend(lambda _: "turn on the light", spec=SPEC, delay_seconds=delay_seconds)
    models = Models([SupervisedHost(SPEC.id, SPEC, in_thread(lambda: backend, PlainRuntime()))])
    admission = Admission(max_requests, wait_seconds=0.3)
    hall = Hall(
        models=models,
        admission=admission,
        voice=None,
        max_audio_bytes=4_000_000,
        limits=DecodeLimits(),
        traced=traced,
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        models.start()
        async with open_door(listener, hall) as door:
            yield Door(listener.getsockname()[1], backend, admission, door)
        await models.stop()


def spoken(audio: bytes, language: str | None = None) -> list[Eventable]:
    with wave.open(io.BytesIO(audio), "rb") as recording:
        sound = wav_to_chunks(recording, samples_per_chunk=1024, start_event=True, stop_event=True)
        events: list[Eventable] = [Transcribe(language=language), *sound]
        return events


def test_it_says_what_is_served_and_that_it_is_alive() -> None:
    async def look() -> None:
        async with a_door() as door, door.client() as client:
            await client.write_event(Describe().event())
            event = await client.read_event()
            assert event is not None
            program = Info.from_event(event).asr[0]
            assert (program.name, program.installed, program.supports_transcript_streaming) == (
                "lithophone", True, True
            )  # fmt: skip
            assert [(model.name, model.languages) for model in program.models] == [(SPEC.id, ["en"])]
            await client.write_event(Ping(text="there?").event())
            event = await client.read_event()
            assert event is not None
            assert Pong.from_event(event).text == "there?"

    asyncio.run(look())


def test_a_transcript_comes_in_pieces_and_whole() -> None:
    async def listen() -> list[Event]:
        async with a_door() as door:
            return await door.ask(*spoken(THREE_WINDOWS, language="en-US"))

    start, *chunks, whole, stop = asyncio.run(listen())
    assert (TranscriptStart.is_type(start.type), TranscriptStop.is_type(stop.type)) == (True, True)
    pieces = [TranscriptChunk.from_event(chunk).text for chunk in chunks]
    assert len(pieces) >= 3
    assert Transcript.from_event(whole).text == "".join(pieces)
    assert Transcript.from_event(whole).language == "en"


def test_a_transcript_leaves_a_trace_and_so_does_one_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra otel is not installed")

    async def listen(traced: Traced) -> None:
        async with a_door(traced=traced) as door:
            await door.ask(*spoken(THREE_WINDOWS))
            await door.ask(AudioStart(16_000, 2, 1), AudioStop())

    with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        with traces(os.environ) as traced:
            asyncio.run(listen(traced))
        heard, failed = (span for span in collector.spans if span.name == "wyoming transcript")
        spans = collector.of(heard.trace_id)
        assert [span.parent_id for span in spans["window"]] == [heard.span_id] * 3
        assert len(spans["hear"]) == 3
        assert "error.type" not in heard.attributes
        assert failed.attributes["error.type"] == "invalid_audio"
        assert not failed.is_error


def test_one_connection_may_ask_again() -> None:
    async def listen() -> int:
        async with a_door() as door, door.client() as client:
            for _ in range(2):
                for event in spoken(SHORT):
                    await client.write_event(event.event())
                while (event := await client.read_event()) is not None and not TranscriptStop.is_type(
                    event.type
                ):
                    pass
            return len(door.backend.calls)

    assert asyncio.run(listen()) == 2


@pytest.mark.parametrize(
    ("events", "told"),
    [
        (spoken(SHORT, language="tlh"), "does not understand"),
        ([AudioStart(rate=16_000, width=9, channels=1)], "not understood"),
        ([AudioStart(16_000, 2, 1), AudioChunk(16_000, 2, 1, b"\0" * 4_000_001)], "larger than"),
        ([AudioStart(16_000, 2, 1), AudioStop()], "corrupt or empty"),
    ],
    ids=["language", "width", "too much", "nothing"],
)
def test_what_cannot_be_heard_is_refused_in_words(events: list[Eventable], told: str) -> None:
    async def listen() -> list[Event]:
        async with a_door() as door:
            return await door.ask(*events)

    (answer,) = asyncio.run(listen())
    assert told in Error.from_event(answer).text


def test_a_full_server_says_so_and_a_client_that_leaves_gives_its_place_back() -> None:
    async def listen() -> str | None:
        async with a_door(max_requests=1, delay_seconds=30) as door:
            async with door.client() as first:
                for event in spoken(SHORT):
                    await first.write_event(event.event())
                await until(lambda: not has_room(door.admission))
                (refusal,) = await door.ask(*spoken(SHORT))
            await until(lambda: has_room(door.admission))
            return Error.from_event(refusal).code

    assert asyncio.run(listen()) == "overloaded"


def has_room(admission: Admission) -> bool:
    return not admission.requests


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - places have no event
            await asyncio.sleep(0.01)


def test_bytes_that_are_no_event_end_their_connection_alone() -> None:
    async def shout() -> bytes:
        async with a_door() as door:
            reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            rest = await asyncio.wait_for(reader.read(), 20)
            writer.close()
            assert len(await door.ask(*spoken(SHORT))) == 4
            return rest

    assert asyncio.run(shout()) == b""


HANDSHAKE = b'{"type": "describe", "data": {}}\n'
"""What Home Assistant sends first, on a connection of its own; then, on another one, `START` and the audio."""

START = (
    b'{"type": "transcribe", "data": {"language": "en"}}\n'
    b'{"type": "audio-start", "data": {"rate": 16000, "width": 2, "channels": 1, "timestamp": 0}}\n'
)


def chunk(pcm: bytes, milliseconds: int) -> bytes:
    head = f'{{"type": "audio-chunk", "data": {{"rate": 16000, "width": 2, "channels": 1, "timestamp": {milliseconds}}}, "payload_length": {len(pcm)}}}\n'
    return head.encode() + pcm


def test_home_assistants_handshake_with_the_server_that_is_typed(tmp_path: Path) -> None:
    """The transcript is the file route's."""
    pcm = pcm_of(SPEECH / "demo.flac")
    recording = tmp_path / "demo.wav"
    with wave.open(str(recording), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(pcm)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process, url = start_server("--wyoming-port", str(port))
    try:
        text = httpx.post(
            f"{url}/v1/audio/transcriptions",
            files={"file": recording.read_bytes()},
            data={"model": "whisper-1"},
            timeout=60,
        ).json()["text"]
        assert asyncio.run(replay(port, pcm)) == text
    finally:
        process.terminate()
        process.communicate(timeout=60)


def pcm_of(path: Path) -> bytes:
    async def whole() -> bytes:
        with path.open("rb") as file:
            return b"".join([block async for block in DecodedAudio(file, DecodeLimits()).blocks()])

    return asyncio.run(whole())


async def replay(port: int, pcm: bytes) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HANDSHAKE)
    event = await async_read_event(reader)
    assert event is not None
    assert Info.from_event(event).asr[0].models[0].languages == ["en"]
    writer.close()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(START)
    for start in range(0, len(pcm), 2048):
        writer.write(chunk(pcm[start : start + 2048], start // 32))
        await writer.drain()
    writer.write(b'{"type": "audio-stop", "data": {"timestamp": 9}}\n')
    while (event := await async_read_event(reader)) is not None:
        if Transcript.is_type(event.type):
            writer.close()
            return Transcript.from_event(event).text
    return "the connection ended"


def test_the_door_is_found_on_the_network() -> None:
    async def find() -> list[str]:
        found: list[str] = []
        seen = asyncio.Event()

        def note(name: str, **_: object) -> None:
            found.append(name)
            seen.set()

        async with announced(["127.0.0.1"], 10300, "Lithophone on test"):
            network = AsyncZeroconf(interfaces=["127.0.0.1"])
            browser = AsyncServiceBrowser(network.zeroconf, SERVICE, handlers=[note])
            await asyncio.wait_for(seen.wait(), 10)
            info = await network.async_get_service_info(SERVICE, found[0])
            assert info is not None
            assert (info.port, info.parsed_addresses()) == (10300, ["127.0.0.1"])
            await browser.async_cancel()
            await network.async_close()
        return found

    assert asyncio.run(find()) == [f"Lithophone on test.{SERVICE}"]


def test_only_what_others_can_reach_is_announced() -> None:
    assert announced_addresses("127.0.0.1") == []
    assert announced_addresses("192.168.1.7") == ["192.168.1.7"]
    assert "127.0.0.1" not in announced_addresses("0.0.0.0")


def test_at_the_end_who_waits_is_answered_and_nobody_new_is_let_in() -> None:
    async def listen() -> list[Event]:
        async with a_door(delay_seconds=0.5) as door:
            asking = asyncio.create_task(door.ask(*spoken(SHORT)))
            while not door.backend.calls:  # noqa: ASYNC110 - the worker's thread sets no event
                await asyncio.sleep(0.01)
            await door.opened.drain(20, lambda: False)
            with pytest.raises(OSError, match="onnect"):
                await door.ask(Describe())
            return await asking

    assert TranscriptStop.is_type(asyncio.run(listen())[-1].type)


@pytest.mark.parametrize("whole", [True, False], ids=["waits", "speaks"])
def test_at_the_end_who_cannot_be_answered_in_time_is_told(whole: bool) -> None:
    async def listen() -> Error:
        async with a_door(delay_seconds=30) as door, door.client() as client:
            for event in spoken(SHORT) if whole else spoken(SHORT)[:-1]:
                await client.write_event(event.event())
            await client.write_event(Ping().event())
            assert await client.read_event() is not None  # all of it was taken
            await door.opened.drain(0.1, lambda: False)
            event = await client.read_event()
            assert event is not None
            return Error.from_event(event)

    assert asyncio.run(listen()).code == "shutting_down"
