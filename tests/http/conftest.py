"""Live servers over the fake backend, on real ports."""

from __future__ import annotations

import asyncio
import io
import socket
import threading
import time
import wave
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import httpx
import msgspec
import numpy as np
import pytest
import structlog
import uvicorn

from lithophone.audio.decode import DecodeLimits
from lithophone.backends.base import Backend, RecognitionRequest, VoiceDetector
from lithophone.backends.fake import FakeBackend, PlainRuntime, describe
from lithophone.door import Entrances, Server
from lithophone.engine.admission import Admission, Place
from lithophone.engine.fairness import Client
from lithophone.errors import UndecodableAudioError
from lithophone.granite.family import DEMONSTRATION_ID, FAMILY, ModelSpec
from lithophone.hosts.base import HostState
from lithophone.hosts.models import LOAD_WAIT_SECONDS, Models
from lithophone.hosts.supervised import SupervisedHost
from lithophone.hosts.thread import in_thread
from lithophone.http.answering import AudioSource
from lithophone.http.app import create_app
from lithophone.http.connections import Connections
from lithophone.http.options import HttpOptions
from lithophone.http.realtime.places import LivePlaces
from lithophone.http.realtime.transport import WEBSOCKETS
from lithophone.http.telemetry import Traced, untraced

SAMPLE_RATE = 16_000
BLOCK_BYTES = 64_000
SPEC = msgspec.structs.replace(
    FAMILY[DEMONSTRATION_ID], max_window_seconds=30.0, stands_for=None, least_logprob=None
)
"""Serves without the warnings of a demonstration model; the fake's probabilities mean nothing."""
WAIT_SECONDS = 20.0


def tone(seconds: float, level: float) -> bytes:
    """s16le PCM of 220 Hz; level 0 is silence."""
    times = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (32767 * level * np.sin(2 * np.pi * 220 * times)).astype("<i2").tobytes()


def wav(*stretches: tuple[float, float]) -> bytes:
    """A WAV file of tones: pairs of seconds and level."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(b"".join(tone(*stretch) for stretch in stretches))
    return buffer.getvalue()


SHORT = wav((1.0, 0.5))
THREE_WINDOWS = wav((26.0, 0.5), (1.0, 0.0), (26.0, 0.5), (1.0, 0.0), (10.0, 0.5))


@dataclass(frozen=True)
class Sound:
    """Blocks, and what is to be told of them."""

    generator: AsyncGenerator[bytes, None]
    warnings: tuple[str, ...] = ()

    def blocks(self) -> AsyncGenerator[bytes, None]:
        return self.generator


class Script:
    """What a server's audio source and model do; a test may change it while the server runs."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.hear: Callable[[RecognitionRequest], str] = describe
        self.failure: Exception | None = None
        self.seconds_before_failure = 0.0
        self.decoding = 0
        self.warnings: tuple[str, ...] = ()
        self.audio_track: int | None = None

    def say(self, request: RecognitionRequest) -> str:
        """What the model hears."""
        return self.hear(request)

    def pcm(self, file: BinaryIO, _: DecodeLimits, audio_track: int | None) -> Sound:
        """An audio source without ffmpeg: reads WAV, or fails as told."""
        self.audio_track = audio_track
        return Sound(self._decode(file), self.warnings)

    async def _decode(self, file: BinaryIO) -> AsyncGenerator[bytes, None]:
        self.decoding += 1
        try:
            for block in _blocks(self._pcm(file)):
                await asyncio.sleep(0)
                yield block
            if self.failure is not None:
                raise self.failure
        finally:
            self.decoding -= 1

    def _pcm(self, file: BinaryIO) -> bytes:
        if self.failure is not None:
            return tone(self.seconds_before_failure, 0.5)
        file.seek(0)
        try:
            with wave.open(file, "rb") as recording:
                return recording.readframes(recording.getnframes())
        except (wave.Error, EOFError):
            raise UndecodableAudioError("The audio is broken.", param="file") from None


def _blocks(pcm: bytes) -> Iterator[bytes]:
    return (pcm[start : start + BLOCK_BYTES] for start in range(0, len(pcm), BLOCK_BYTES))


@dataclass
class Live:
    """A server that answers, and what it is made of."""

    url: str
    host: SupervisedHost
    admission: Admission
    client: httpx.Client
    script: Script
    loop: asyncio.AbstractEventLoop
    server: Server

    def unload(self) -> None:
        """Give the model's memory back."""
        asyncio.run_coroutine_threadsafe(self.host.unload(), self.loop).result(WAIT_SECONDS)

    def transcribe(self, audio: bytes = SHORT, /, *, headers: Any = None, **fields: Any) -> httpx.Response:
        """POST a recording; `model` has a default, a list repeats its field."""
        return self.client.post(
            "/v1/audio/transcriptions",
            files={"file": ("speech.wav", audio)},
            data={"model": "whisper-1"} | fields,
            headers=headers,
        )


def eventually(condition: Callable[[], bool]) -> None:
    """Fail unless it comes true soon."""
    end = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.01)


def error_of(response: httpx.Response, status: int) -> dict[str, Any]:
    """The error object of a response, found to be whole."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"]
    assert int(response.headers["openai-processing-ms"]) >= 0
    body = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert body["error"]["message"]
    return body["error"]


def post_audio(live: Live, path: str, audio: bytes = SHORT, /, **fields: Any) -> httpx.Response:
    """POST a recording to a route beside `transcribe`'s."""
    return live.client.post(path, files={"file": ("speech.wav", audio)}, data={"model": "whisper-1"} | fields)


@contextmanager
def serving(
    open_backend: Callable[[], Backend] | None = None,
    *,
    delay_seconds: float = 0.0,
    options: HttpOptions | None = None,
    max_requests: int = 8,
    admission: Admission | None = None,
    wait_seconds: float = 10.0,
    grace_seconds: int = 5,
    audio_source: AudioSource | None = None,
    spec: ModelSpec = SPEC,
    ready: bool = True,
    load_wait_seconds: float = LOAD_WAIT_SECONDS,
    others: Sequence[SupervisedHost] = (),
    voice: VoiceDetector | None = None,
    places: LivePlaces | None = None,
    head_seconds: float = WAIT_SECONDS,
    traced: Traced = untraced,
) -> Iterator[Live]:
    """A server in a thread of its own; `ready=False` does not wait for its model, the first of several."""
    script = Script()

    def open_fake() -> Backend:
        return FakeBackend(script.say, spec=spec, delay_seconds=delay_seconds)

    host = SupervisedHost(spec.id, spec, in_thread(open_backend or open_fake, PlainRuntime()))
    admission = admission or Admission(max_requests, wait_seconds=wait_seconds)
    app = create_app(
        Models([host, *others], load_wait_seconds=load_wait_seconds),
        admission,
        places=places,
        voice=voice,
        options=options,
        audio_source=audio_source or script.pcm,
        traced=traced,
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(
            uvicorn.Config(
                app, log_config=None, access_log=False, timeout_graceful_shutdown=grace_seconds, **WEBSOCKETS
            ),
            Entrances(admission, places or LivePlaces(1)),
            listener,
            Connections(1000, head_seconds),
        )
        loops: list[asyncio.AbstractEventLoop] = []

        async def serve() -> None:
            loops.append(asyncio.get_running_loop())
            await server.serve([listener])

        thread = threading.Thread(target=lambda: asyncio.run(serve()))
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            eventually(lambda: server.started)
            if ready:
                eventually(lambda: host.state is HostState.READY)
            with httpx.Client(base_url=url, timeout=WAIT_SECONDS) as client:
                yield Live(url, host, admission, client, script, loops[0], server)
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def occupied(live: Live, requests: int = 1) -> Iterator[None]:
    """So many places are taken by somebody else."""

    async def take() -> list[Place]:
        return [live.admission.place(client=Client(f"somebody {number}")) for number in range(requests)]

    places = asyncio.run_coroutine_threadsafe(take(), live.loop).result(WAIT_SECONDS)
    try:
        yield
    finally:
        for place in places:
            live.loop.call_soon_threadsafe(place.leave)


def stored_files() -> set[str]:
    """Deleted files this process still holds open: what a spooled upload is on disk."""
    opened = [link.readlink().name for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return {name for name in opened if name.endswith(" (deleted)")}


@pytest.fixture
def nothing_stays() -> Iterator[None]:
    """Fails if an upload is still on disk after the test."""
    before = stored_files()
    yield
    eventually(lambda: stored_files() <= before)


@pytest.fixture(scope="session", autouse=True)
def quiet_log() -> Iterator[None]:
    """Log lines go nowhere but to `capture_logs`."""
    structlog.configure(
        [structlog.processors.KeyValueRenderer()], logger_factory=structlog.ReturnLoggerFactory()
    )
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def shared_server() -> Iterator[Live]:
    with serving() as live:
        yield live


@pytest.fixture
def server(shared_server: Live) -> Live:
    """A server with defaults, shared by the tests; its script is new for each."""
    shared_server.script.reset()
    return shared_server
