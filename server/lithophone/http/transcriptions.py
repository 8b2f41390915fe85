"""`POST /v1/audio/transcriptions`.

Owns the order of a request: key (a guard), announced length, a place in the engine, the body, the form, the audio.
A place is taken before the body is read, so a full queue answers 429 without storing gigabytes first.
Everything that can fail with a status does so before the headers of a stream go out.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from typing import Any, BinaryIO, Protocol

from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from lithophone.audio.decode import DecodeLimits, decode_audio
from lithophone.engine.engine import Engine
from lithophone.engine.job import Job
from lithophone.engine.transcript import Segment, Transcript
from lithophone.errors import InternalError, InvalidRequestError
from lithophone.http.catalogue import Catalogue
from lithophone.http.disconnect import unless_disconnected
from lithophone.http.errors import envelope, log_internal, service_error
from lithophone.http.event_stream import EventStream
from lithophone.http.exchange import Exchange, exchange_of
from lithophone.http.forms import Include, TranscriptionForm, parse_transcription_form
from lithophone.http.openapi import ERROR_RESPONSES, TRANSCRIPTION_RESPONSES, TranscriptionOperation
from lithophone.http.options import HttpOptions
from lithophone.http.render import render_transcript
from lithophone.http.render.events import DONE, delta_event, done_event, error_event
from lithophone.http.support import job_options, require_supported
from lithophone.http.upload import receive_form, refuse_oversized


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


@post(
    "/audio/transcriptions",
    status_code=200,
    operation_class=TranscriptionOperation,
    operation_id="createTranscription",
    summary="Transcribe a recording",
    responses={**TRANSCRIPTION_RESPONSES, **ERROR_RESPONSES},
)
async def create_transcription(
    request: Request[Any, Any, Any],
    engine: NamedDependency[Engine],
    options: NamedDependency[HttpOptions],
    catalogue: NamedDependency[Catalogue],
    audio_source: NamedDependency[SkipValidation[AudioSource]],
) -> Response[Any]:
    """Speech to text in the language that is spoken."""
    refuse_oversized(request, options)
    async with AsyncExitStack() as resources:
        resources.enter_context(engine.admit())
        recording = resources.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
        form = await _receive(request, options, recording)
        catalogue.require(form.model)
        require_supported(form, engine.spec)
        job = engine.job(audio_source(recording, options.decode_limits), job_options(form))
        answer = _Answer(job, form, exchange_of(request.scope))
        if form.stream:
            return await answer.begin_stream(request, resources)
        return await answer.whole(request)


async def _receive(
    request: Request[Any, Any, Any], options: HttpOptions, recording: BinaryIO
) -> TranscriptionForm:
    received = await receive_form(request, options, recording)
    form = parse_transcription_form(received.fields)
    if not received.has_file:
        raise InvalidRequestError("The audio is missing (curl: -F file=@recording.wav).", param="file")
    return form


class _Answer:
    """A running job on its way to the client, whole or as a stream."""

    def __init__(self, job: Job, form: TranscriptionForm, exchange: Exchange) -> None:
        self._job = job
        self._form = form
        self._exchange = exchange
        self._logprobs = Include.LOGPROBS in form.include

    async def whole(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        """Wait for the end; stop if the client leaves."""
        rendered = render_transcript(await unless_disconnected(request.receive, self._finish()), self._form)
        return Response(rendered.body, media_type=rendered.media_type)

    async def begin_stream(self, request: Request[Any, Any, Any], resources: AsyncExitStack) -> EventStream:
        """Wait for the first segment, so that what is wrong with the audio still has a status."""
        segments = await resources.enter_async_context(aclosing(aiter(self._job)))
        first = await unless_disconnected(request.receive, _next(segments))
        return EventStream(self._events(first, segments), resources.pop_all())

    async def _finish(self) -> Transcript:
        async with aclosing(aiter(self._job)) as segments:
            async for _ in segments:
                pass
        return await self._transcript()

    async def _transcript(self) -> Transcript:
        """The whole; telling the language takes a moment, so not in the event loop."""
        transcript = await asyncio.to_thread(self._job.transcript)
        self._exchange.audio_seconds = transcript.duration_seconds
        return transcript

    async def _events(
        self, first: Segment | None, segments: AsyncGenerator[Segment]
    ) -> AsyncGenerator[bytes, None]:
        try:
            segment = first
            while segment is not None:
                if segment.delta:
                    yield delta_event(segment, logprobs=self._logprobs)
                segment = await _next(segments)
            yield done_event(await self._transcript(), logprobs=self._logprobs)
            yield DONE
        except Exception as failure:  # noqa: BLE001 - the status is sent; the stream's last event tells instead
            error = service_error(failure)
            if isinstance(error, InternalError):
                log_internal(failure)
            yield error_event(envelope(error))


async def _next(segments: AsyncGenerator[Segment]) -> Segment | None:
    return await anext(segments, None)
