"""The Wyoming protocol, by which Home Assistant speaks to speech-to-text programs.

Owns the events of a connection: what is served, audio until its end, the transcript piece by piece. What is heard is stored
as a WAV file and goes the way of an upload, so that the text is the file route's. The protocol knows no keys.

Source: https://github.com/OHF-Voice/wyoming (README, "Event Types" and "Event Flow").
"""

from __future__ import annotations

import asyncio
import socket
import tempfile
import wave
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from typing import BinaryIO, Final

import msgspec
import structlog
from wyoming.asr import Transcribe, Transcript, TranscriptChunk, TranscriptStart, TranscriptStop
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.error import Error
from wyoming.event import Event, Eventable
from wyoming.info import AsrModel, AsrProgram, Attribution, Describe, Info
from wyoming.ping import Ping, Pong
from wyoming.server import AsyncEventHandler

from lithophone import __version__
from lithophone.audio.decode import DecodedAudio
from lithophone.audio.stream import DecodeLimits
from lithophone.backends.base import VoiceDetector
from lithophone.engine.admission import Admission
from lithophone.engine.job import Job
from lithophone.errors import DrainingError, PayloadTooLargeError, ServiceError
from lithophone.hosts.base import ModelHost
from lithophone.hosts.models import Models
from lithophone.http.forms import TranscriptionForm, parse_form
from lithophone.http.support import job_options, require_supported
from lithophone.http.telemetry import Traced, untraced

log = structlog.get_logger(__name__)

PROGRAM: Final = "lithophone"
IBM: Final = Attribution("IBM", "https://huggingface.co/ibm-granite")
OURS: Final = Attribution("Lithophone", "https://huggingface.co/collections/ibm-granite/granite-speech")
NO_EVENT: Final = (ValueError, KeyError, TypeError, AssertionError, wave.Error)
"""What the library raises where an event lacks what it must have."""


WIDTHS_BYTES: Final = (1, 2, 3, 4)
POLL_SECONDS: Final = 0.1


class Hall(msgspec.Struct, frozen=True, kw_only=True):
    """What is behind the door: the server's models, its places, and what a recording may cost."""

    models: Models
    admission: Admission
    voice: VoiceDetector | None
    max_audio_bytes: int
    limits: DecodeLimits
    traced: Traced = untraced

    def host(self, name: str | None) -> ModelHost:
        """The model of a name; the default one for none, and for a name of another program."""
        return next((host for host in self.models.hosts if host.model_id == name), self.models.default)

    def job(self, host: ModelHost, recording: BinaryIO, form: TranscriptionForm) -> Job:
        """A transcription of a stored recording.

        Raises:
            InvalidRequestError: the model cannot do what is asked for.
        """
        require_supported(form, host.spec)
        return Job(
            host.open_recogniser(),
            DecodedAudio(recording, self.limits).blocks(),
            job_options(form, host.spec),
            voice=None if self.voice is None else self.voice.open_stream(),
        )


class Recording:
    """Audio as it comes, stored as a WAV file.

    Raises:
        ValueError: WAV has no such samples.
    """

    def __init__(self, start: AudioStart, max_bytes: int) -> None:
        if start.width not in WIDTHS_BYTES or start.channels < 1 or start.rate < 1:
            raise ValueError(f"{start.channels} channels of {start.width} bytes at {start.rate} Hz")
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        self._wav = wave.open(self._file, "wb")  # noqa: SIM115 - closed before it is read
        self._wav.setparams((start.channels, start.width, start.rate, 0, "NONE", ""))
        self._left_bytes = max_bytes

    def add(self, audio: bytes) -> None:
        """More of it.

        Raises:
            PayloadTooLargeError: it is more than is stored.
        """
        self._left_bytes -= len(audio)
        if self._left_bytes < 0:
            raise PayloadTooLargeError("The recording is larger than the server allows.")
        self._wav.writeframesraw(audio)

    def finished(self) -> BinaryIO:
        """The whole file; open until `close`."""
        self._wav.close()
        return self._file

    def close(self) -> None:
        """Give the disk back."""
        with suppress(OSError, wave.Error):
            self._wav.close()
        self._file.close()


class Connection(AsyncEventHandler):
    """One client: events in, events out. It may ask for several transcripts, one after the other."""

    def __init__(self, hall: Hall, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(reader, writer)
        self._hall = hall
        self._asked = Transcribe()
        self._recording: Recording | None = None
        self._answering: asyncio.Task[None] | None = None

    async def handle_event(self, event: Event) -> bool:
        """Take the next event; false hangs up."""
        try:
            await self._take(event)
        except (ServiceError, *NO_EVENT) as error:
            await self._refuse(error)
            return False
        return True

    async def _take(self, event: Event) -> None:
        if Describe.is_type(event.type):
            await self._send(described(self._hall.models))
        elif Ping.is_type(event.type):
            await self._send(Pong(text=Ping.from_event(event).text))
        elif Transcribe.is_type(event.type):
            self._asked = Transcribe.from_event(event)
        elif AudioStart.is_type(event.type):
            self._drop_recording()
            self._recording = Recording(AudioStart.from_event(event), self._hall.max_audio_bytes)
        elif AudioChunk.is_type(event.type) and self._recording is not None:
            self._recording.add(AudioChunk.from_event(event).audio)
        elif AudioStop.is_type(event.type) and self._recording is not None:
            self._begin_answer()

    def _begin_answer(self) -> None:
        """In a task of its own, so that a client that leaves is noticed."""
        self._cancel_answer()
        self._answering = asyncio.create_task(self._answer(self._asked))

    async def _answer(self, asked: Transcribe) -> None:
        try:
            recording = self._recording
            if recording is not None:
                with self._hall.traced.transcript("wyoming"):
                    await self._transcribe(asked, recording.finished())
        except ServiceError as error:
            await self._refuse(error)
        except ConnectionError:
            pass
        finally:
            self._drop_recording()

    async def _transcribe(self, asked: Transcribe, recording: BinaryIO) -> None:
        """Chunks, and behind them the whole: clients that know no chunks wait for that alone."""
        async with (
            self._hall.admission.held(),
            self._hall.models.use(self._hall.host(asked.name).model_id) as host,
        ):
            job = self._hall.job(host, recording, form_of(asked, host))
            async with aclosing(aiter(job)) as segments:
                segment = await anext(segments, None)  # what is wrong with the audio is told before a start
                await self._send(TranscriptStart(language=asked.language))
                while segment is not None:
                    await self._send(TranscriptChunk(text=segment.delta))
                    segment = await anext(segments, None)
            whole = await job.transcript()
            await self._send(Transcript(text=whole.text, language=whole.language))
            await self._send(TranscriptStop())

    @property
    def is_at_work(self) -> bool:
        """Somebody speaks, or waits for a transcript."""
        return self._recording is not None or (self._answering is not None and not self._answering.done())

    async def tell_end(self) -> None:
        """The server ends before the transcript is there."""
        self._cancel_answer()
        await self._refuse(DrainingError("The server is shutting down."))

    async def disconnect(self) -> None:
        """The client has left: what it waits for is dropped."""
        self._cancel_answer()
        self._drop_recording()

    def _cancel_answer(self) -> None:
        if self._answering is not None:
            self._answering.cancel()

    def _drop_recording(self) -> None:
        if self._recording is not None:
            self._recording.close()
            self._recording = None

    async def _send(self, event: Eventable) -> None:
        await self.write_event(event.event())

    async def _refuse(self, error: Exception) -> None:
        known = isinstance(error, ServiceError)
        text, code = (error.message, error.code) if known else (f"not understood: {error}", None)
        with suppress(ConnectionError):
            await self._send(Error(text=text, code=code))


def form_of(asked: Transcribe, host: ModelHost) -> TranscriptionForm:
    """What is asked for, as a client of the file route would ask. Names and terms are hints, which a model may not take.

    Raises:
        InvalidRequestError: a value has no meaning.
    """
    hints = ", ".join((*(asked.transcript_names or ()), *(asked.transcript_terms or ())))
    language = (asked.language or "").split("-")[0].split("_")[0]  # en-US, en_US
    return parse_form(
        TranscriptionForm, [("model", host.model_id), ("language", language), ("prompt", hints)]
    )


def described(models: Models) -> Info:
    """What is served, the default model first."""
    program = AsrProgram(
        name=PROGRAM,
        description="IBM Granite Speech",
        attribution=OURS,
        installed=True,
        version=__version__,
        models=[
            AsrModel(
                name=host.model_id,
                description=host.spec.hub_id or host.model_id,
                attribution=IBM,
                installed=True,
                version=None,
                languages=list(host.spec.speech_languages),
            )
            for host in models.hosts
        ],
        supports_transcript_streaming=True,
    )
    return Info(asr=[program])


class Door:
    """The socket that clients come to, and who is there."""

    def __init__(self, server: asyncio.Server, connections: Mapping[asyncio.Task[None], Connection]) -> None:
        self._server = server
        self._connections = connections

    async def join(self) -> None:
        """Listen, if that is not done yet."""
        await self._server.start_serving()

    async def drain(self, seconds: float, hurried: Callable[[], bool]) -> None:
        """Let nobody in, and wait for answers under way, but not for long and not when somebody is in a hurry; then tell them."""
        self._server.close()
        end = asyncio.get_running_loop().time() + seconds
        while self._at_work and not hurried() and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110 - a signal's handler sets no event
            await asyncio.sleep(POLL_SECONDS)
        await asyncio.gather(*(one.tell_end() for one in self._at_work))

    @property
    def _at_work(self) -> list[Connection]:
        return [one for one in self._connections.values() if one.is_at_work]


@asynccontextmanager
async def open_door(listener: socket.socket, hall: Hall, *, joins: bool = False) -> AsyncGenerator[Door]:
    """Answer who comes to a bound socket, until the end; then hang up on everybody. With `joins` from `Door.join` on."""
    connections: dict[asyncio.Task[None], Connection] = {}

    async def welcome(hall: Hall, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(hall, reader, writer)
        task = asyncio.create_task(connection.run())
        connections[task] = connection
        task.add_done_callback(lambda done: connections.pop(done, None) and _lost(done))

    server = await asyncio.start_server(partial(welcome, hall), sock=listener, start_serving=not joins)
    log.info("wyoming", port=listener.getsockname()[1])
    try:
        yield Door(server, connections)
    finally:
        server.close()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


def _lost(done: asyncio.Task[None]) -> None:
    """A connection that breaks, or that sends what is no event, ends; nobody else is concerned."""
    if not done.cancelled() and (error := done.exception()) is not None:
        log.info("wyoming_connection_ended", error=type(error).__name__)
