"""A request for text from a recording, from its body to its answer.

Owns the order of it: announced length, room for the body, the body, the form, a place, the model, the audio. A place is
taken when the whole body is there: who sends slowly holds up nobody. Everything that can fail with a status does so before
the headers of a stream go out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from functools import partial
from typing import Any, BinaryIO, Generic, Protocol, TypeVar

import msgspec
import structlog
from litestar import Request, Response

from lithophone.audio.length import guess_seconds
from lithophone.audio.stream import DecodeLimits, PcmSource
from lithophone.backends.base import VoiceDetector
from lithophone.engine.admission import Admission, Place
from lithophone.engine.job import Job
from lithophone.engine.options import JobOptions
from lithophone.engine.shortages import Shortages
from lithophone.engine.transcript import Segment, Transcript
from lithophone.engine.understanding import demonstration_warnings, understood
from lithophone.errors import InternalError
from lithophone.formats.documents import SpeakerLabels
from lithophone.formats.events import DONE, delta_event, done_event, segment_event
from lithophone.formats.rendering import Rendered, RenderOptions, render
from lithophone.granite.family import ModelSpec
from lithophone.hosts.base import ModelHost
from lithophone.hosts.models import Models
from lithophone.http.catalogue import Catalogue
from lithophone.http.clients import client_of
from lithophone.http.disconnect import unless_disconnected
from lithophone.http.errors import envelope, log_internal, service_error
from lithophone.http.event_stream import EventStream, error_event
from lithophone.http.exchange import Exchange, Interval, Stage, exchange_of
from lithophone.http.forms import Form, parse_form, require_audio, unknown_fields
from lithophone.http.options import HttpOptions
from lithophone.http.storage import Uploads
from lithophone.http.support import require_used, unknown_warnings, warnings_for
from lithophone.http.upload import read_form, refuse_oversized

log = structlog.get_logger(__name__)

WARNING_HEADER = "x-lithophone-warning"
"""Names what was asked for and could not be used, where refusing would break clients that always send it."""

RETRY_COUNT = "x-stainless-retry-count"
"""OpenAI's SDKs count their retries in it."""

LONGEST_ON_LOOP_CHARACTERS = 4_000
"""The longest text of a transcript that is written on the event loop: about four minutes of speech, at most a few
milliseconds (srt costs most). Four hours take hundreds, so a thread writes them; a short one would only wait for it."""

Written = TypeVar("Written")


class AudioSource(Protocol):
    """Turns a file on disk into PCM."""

    def __call__(self, file: BinaryIO, limits: DecodeLimits, audio_track: int | None, /) -> PcmSource:
        """The recording, whose blocks raise the errors of `lithophone.audio.decode`."""
        ...


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """What every route over a recording needs."""

    models: Models
    admission: Admission
    uploads: Uploads
    shortages: Shortages
    catalogue: Catalogue
    options: HttpOptions
    audio_source: AudioSource
    voice: VoiceDetector | None

    def audio(self, recording: BinaryIO, audio_track: int | None) -> PcmSource:
        """The sound of a recording; it is decoded as it is iterated."""
        return self.audio_source(recording, self.options.decode_limits, audio_track)

    def job(self, host: ModelHost, audio: PcmSource, options: JobOptions, exchange: Exchange) -> Job:
        """The transcription of a recording by a model, for a request."""
        return Job(
            host.open_recogniser(),
            _timed(audio.blocks(), exchange),
            options,
            voice=None if self.voice is None else self.voice.open_stream(),
        )


class AcceptedRequest(msgspec.Struct, Generic[Form], frozen=True):
    """A form and the model it asks for, the recording beside it, its place, and what is to be closed after the answer.

    `unknown` are the fields that came with it and that no form has.
    """

    form: Form
    unknown: tuple[str, ...]
    host: ModelHost
    recording: BinaryIO
    place: Place
    resources: AsyncExitStack

    def warnings(self, options: HttpOptions) -> tuple[str, ...]:
        """What is asked for in vain.

        Raises:
            UnsupportedParameterError: something is, and the server is strict.
        """
        warnings = (*unknown_warnings(self.unknown), *warnings_for(self.form, self.host.spec))
        if options.strict:
            require_used(warnings)
        return warnings


@asynccontextmanager
async def accepted(
    request: Request[Any, Any, Any], service: Service, kind: type[Form]
) -> AsyncGenerator[AcceptedRequest[Form]]:
    """The body, a place, and a model that answers; all are given back at the end unless `resources` were taken over.

    Raises:
        ServiceError: a body that cannot be read, an invalid form, an unknown model, no place, a model that cannot be loaded.
    """
    refuse_oversized(request, service.options)
    exchange = exchange_of(request.scope)
    async with AsyncExitStack() as resources:
        service.admission.require_open()
        client = client_of(request)
        upload = resources.enter_context(service.uploads.store(client))
        exchange.enter(Stage.UPLOAD)
        body = await read_form(request, service.options, upload)
        form = parse_form(kind, body.fields)
        require_audio(kind, body.other_files, has_file=body.has_file)
        model_id = service.catalogue.resolve(form.model)
        exchange.enter(Stage.QUEUE)
        place = service.admission.place(
            guess_seconds(upload.file.fileno()), client, is_first_try=request.headers.get(RETRY_COUNT) == "0"
        )
        resources.callback(place.leave)
        if not place.is_inside:
            await unless_disconnected(request.receive, place.admitted())
        exchange.enter(Stage.LOAD)
        host = await resources.enter_async_context(service.models.use(model_id))
        exchange.enter(Stage.ANSWER)
        unknown = unknown_fields(kind, body.fields, body.other_files)
        yield AcceptedRequest(form, unknown, host, upload.file, place, resources)


class Events(msgspec.Struct, frozen=True, kw_only=True):
    """What a stream of events carries beside the text."""

    logprobs: bool = False
    speakers: bool = False
    words: bool = False


class Answer:
    """A running job on its way to the client, whole or as a stream.

    `warnings` go ahead of it in a header, and those of `audio` and of the model `spec` as far as they are known when the
    header is sent: all of them for a whole answer, for a stream those of its first segment and the audio before it.
    """

    def __init__(
        self,
        job: Job,
        place: Place,
        exchange: Exchange,
        warnings: Sequence[str],
        audio: PcmSource,
        *,
        spec: ModelSpec,
    ) -> None:
        self._job = job
        self._place = place
        self._spec = spec
        self._exchange = exchange
        self._warnings = warnings
        self._audio = audio

    async def whole(self, request: Request[Any, Any, Any], options: RenderOptions) -> Response[bytes]:
        """Wait for the end; stop if the client leaves."""
        rendered, headers = await unless_disconnected(request.receive, self._rendered(options))
        return Response(rendered.body, media_type=rendered.media_type, headers=headers)

    async def stream(
        self, request: Request[Any, Any, Any], resources: AsyncExitStack, wanted: Events
    ) -> EventStream:
        """Wait for the first segment, so that what is wrong with the audio still has a status."""
        segments = await resources.enter_async_context(aclosing(aiter(self._job)))
        first = await unless_disconnected(request.receive, _next(segments))
        if first is not None:
            self._exchange.first_text_seconds = self._exchange.elapsed_seconds
        headers = self._headers(() if first is None else (first,))
        return EventStream(self._events(first, segments, wanted), resources.pop_all(), headers)

    def _headers(self, heard: Sequence[Segment]) -> dict[str, str]:
        warnings = (*self._warnings, *self._audio.warnings, *demonstration_warnings(self._spec, heard))
        return {WARNING_HEADER: " ".join(warnings)} if warnings else {}

    async def _rendered(self, options: RenderOptions) -> tuple[Rendered, dict[str, str]]:
        async with aclosing(aiter(self._job)) as segments:
            async for segment in segments:
                self._place.answered(segment.end_seconds)
        transcript = await self._transcript()
        return await _written(transcript, partial(render, options=options)), self._headers(
            transcript.segments
        )

    async def _transcript(self) -> Transcript:
        transcript = await self._job.transcript()
        self._exchange.audio_seconds = transcript.duration_seconds
        if not understood(self._spec, transcript.segments):
            log.warning("not_understood", model=self._spec.id)
        return transcript

    async def _events(
        self, first: Segment | None, segments: AsyncGenerator[Segment], wanted: Events
    ) -> AsyncGenerator[bytes, None]:
        labels = SpeakerLabels()
        try:
            segment = first
            while segment is not None:
                self._place.answered(segment.end_seconds)
                if segment.delta:
                    yield delta_event(
                        segment, logprobs=wanted.logprobs, named=wanted.speakers, words=wanted.words
                    )
                if segment.text and wanted.speakers:
                    yield segment_event(segment, labels)
                segment = await _next(segments)
            yield await _written(await self._transcript(), partial(done_event, logprobs=wanted.logprobs))
            yield DONE
        except Exception as failure:  # noqa: BLE001 - the status is sent; the stream's last event tells instead
            error = service_error(failure)
            self._exchange.fail(error)
            if isinstance(error, InternalError):
                log_internal(failure)
            yield error_event(envelope(error))


async def _timed(blocks: AsyncGenerator[bytes], exchange: Exchange) -> AsyncGenerator[bytes]:
    """The blocks; the exchange learns how long they were waited for."""
    async with aclosing(blocks):
        exchange.decode_seconds = 0.0
        first = time.perf_counter()
        while True:
            began = time.perf_counter()
            block = await anext(blocks, None)
            exchange.decoding = Interval(first, time.perf_counter())
            exchange.decode_seconds += exchange.decoding.ended - began
            if block is None:
                return
            yield block


async def _next(segments: AsyncGenerator[Segment]) -> Segment | None:
    return await anext(segments, None)


async def _written(transcript: Transcript, write: Callable[[Transcript], Written]) -> Written:
    """What `write` makes of the transcript; off the event loop if it is long."""
    if len(transcript.text) <= LONGEST_ON_LOOP_CHARACTERS:
        return write(transcript)
    return await asyncio.to_thread(write, transcript)
