"""`POST /v1/audio/transcriptions`."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from lithophone.formats.names import Granularity, ResponseFormat
from lithophone.http.answering import Answer, Events, Service, accepted
from lithophone.http.exchange import exchange_of
from lithophone.http.forms import Include, TranscriptionForm
from lithophone.http.openapi import ERROR_RESPONSES, TRANSCRIPTION_RESPONSES, TranscriptionOperation
from lithophone.http.support import job_options, render_options, require_supported


@post(
    "/audio/transcriptions",
    status_code=200,
    operation_class=TranscriptionOperation,
    operation_id="createTranscription",
    summary="Transcribe a recording",
    responses={**TRANSCRIPTION_RESPONSES, **ERROR_RESPONSES},
)
async def create_transcription(
    request: Request[Any, Any, Any], service: NamedDependency[SkipValidation[Service]]
) -> Response[Any]:
    """Speech to text in the language that is spoken."""
    async with accepted(request, service, TranscriptionForm) as asked:
        form, spec = asked.form, asked.host.spec
        require_supported(form, spec)
        wanted = job_options(form, spec, native_word_times=service.options.native_word_times)
        audio = service.audio(asked.recording, form.audio_track)
        exchange = exchange_of(request.scope)
        job = service.job(asked.host, audio, wanted, exchange)
        answer = Answer(job, asked.place, exchange, asked.warnings(service.options), audio, spec=spec)
        if form.stream:
            return await answer.stream(request, asked.resources, _events(form))
        return await answer.whole(request, render_options(form))


def _events(form: TranscriptionForm) -> Events:
    return Events(
        logprobs=Include.LOGPROBS in form.include,
        speakers=form.response_format is ResponseFormat.DIARIZED_JSON,
        words=Granularity.WORD in form.timestamp_granularities,
    )
