"""A request for text from a recording, from its body to its answer.

Owns the order of it: announced length, a place in the engine, the body, the form, the audio. A place is taken before the
body is read, so a full queue answers 429 without storing gigabytes first. Everything that can fail with a status does so
before the headers of a stream go out.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any, BinaryIO, Generic, Protocol

import msgspec
from litestar import Request, Response

from lithophone.audio.decode import DecodeLimits, decode_audio
from lithophone.engine.engine import Engine
from lithophone.engine.job import Job
from lithophone.engine.transcript import Segment, Transcript
from lithophone.errors import InternalError, InvalidRequestError
from lithophone.http.catalogue import Catalogue
from lithophone.http.disconnect import unless_disconnected
from lithophone.http.errors import envelope, log_internal, service_error
from lithophone.http.event_stream import EventStream
from lithophone.http.exchange import Exchange
from lithophone.http.forms import Form, parse_form
from lithophone.http.options import HttpOptions
from lithophone.http.render import Rendered
from lithophone.http.render.documents import SpeakerLabels
from lithophone.http.render.events import DONE, delta_event, done_event, error_event, segment_event
from lithophone.http.upload import receive_form, refuse_oversized

WARNING_HEADER = "x-lithophone-warning"
"""Names what was asked for and could not be used, where refusing would break clients that always send it."""


class AudioSource(Protocol):
    """Turns a file on disk into s16le mono 16 kHz blocks. Closing the generator frees all it holds."""

    def __call__(self, file: BinaryIO, limits: DecodeLimits, /) -> AsyncGenerator[bytes, None]:
        """The blocks; raises the errors of `lithophone.audio.decode`."""
        ...


async def decoded_blocks(file: BinaryIO, limits: DecodeLimits) -> AsyncGenerator[bytes, None]:
    """The `AudioSource` of the server: ffmpeg."""
    async with decode_audio(file, limits=limits) as stream:
        async for block in stream:
            yield block


class Service(msgspec.Struct, frozen=True):
    """What every route over a recording needs."""

    engine: Engine
    options: HttpOptions
    catalogue: Catalogue
    audio_source: AudioSource


class Received(msgspec.Struct, Generic[Form], frozen=True):
    """A form whose model is served here, the recording beside it, and what is to be closed after the answer."""

    form: Form
    recording: BinaryIO
    resources: AsyncExitStack


@asynccontextmanager
async def received(
    request: Request[Any, Any, Any], service: Service, kind: type[Form]
) -> AsyncGenerator[Received[Form]]:
    """A place in the engine and the body; both are given back at the end unless `resources` were taken over.

    Raises:
        ServiceError: no place, a body that cannot be read, an invalid form, an unknown model.
    """
    refuse_oversized(request, service.options)
    async with AsyncExitStack() as resources:
        resources.enter_context(service.engine.admit())
        recording = resources.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
        body = await receive_form(request, service.options, recording)
        form = parse_form(kind, body.fields)
        if not body.has_file:
            raise InvalidRequestError("The audio is missing (curl: -F file=@recording.wav).", param="file")
        service.catalogue.require(form.model)
        yield Received(form, recording, resources)


class Events(msgspec.Struct, frozen=True, kw_only=True):
    """What a stream of events carries beside the text."""

    logprobs: bool = False
    speakers: bool = False


class Answer:
    """A running job on its way to the client, whole or as a stream; `warnings` go ahead of it in a header."""

    def __init__(self, job: Job, exchange: Exchange, warnings: Sequence[str]) -> None:
        self._job = job
        self._exchange = exchange
        self._headers = {WARNING_HEADER: " ".join(warnings)} if warnings else {}

    async def whole(
        self, request: Request[Any, Any, Any], render: Callable[[Transcript], Rendered]
    ) -> Response[bytes]:
        """Wait for the end; stop if the client leaves."""
        rendered = render(await unless_disconnected(request.receive, self._finish()))
        return Response(rendered.body, media_type=rendered.media_type, headers=self._headers)

    async def stream(
        self, request: Request[Any, Any, Any], resources: AsyncExitStack, wanted: Events
    ) -> EventStream:
        """Wait for the first segment, so that what is wrong with the audio still has a status."""
        segments = await resources.enter_async_context(aclosing(aiter(self._job)))
        first = await unless_disconnected(request.receive, _next(segments))
        return EventStream(self._events(first, segments, wanted), resources.pop_all(), self._headers)

    async def _finish(self) -> Transcript:
        async with aclosing(aiter(self._job)) as segments:
            async for _ in segments:
                pass
        return await self._transcript()

    async def _transcript(self) -> Transcript:
        transcript = await self._job.transcript()
        self._exchange.audio_seconds = transcript.duration_seconds
        return transcript

    async def _events(
        self, first: Segment | None, segments: AsyncGenerator[Segment], wanted: Events
    ) -> AsyncGenerator[bytes, None]:
        labels = SpeakerLabels()
        try:
            segment = first
            while segment is not None:
                if segment.delta:
                    yield delta_event(segment, logprobs=wanted.logprobs, named=wanted.speakers)
                if segment.text and wanted.speakers:
                    yield segment_event(segment, labels)
                segment = await _next(segments)
            yield done_event(await self._transcript(), logprobs=wanted.logprobs)
            yield DONE
        except Exception as failure:  # noqa: BLE001 - the status is sent; the stream's last event tells instead
            error = service_error(failure)
            if isinstance(error, InternalError):
                log_internal(failure)
            yield error_event(envelope(error))


async def _next(segments: AsyncGenerator[Segment]) -> Segment | None:
    return await anext(segments, None)
