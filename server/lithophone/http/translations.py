"""`POST /v1/audio/translations`."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from lithophone.formats.names import Granularity
from lithophone.formats.rendering import RenderOptions
from lithophone.http.answering import Answer, Events, Service, accepted
from lithophone.http.exchange import exchange_of
from lithophone.http.forms import TranslationForm
from lithophone.http.openapi import ERROR_RESPONSES, TRANSLATION_RESPONSES, TranslationOperation
from lithophone.http.support import require_translatable, translation_options


@post(
    "/audio/translations",
    status_code=200,
    operation_class=TranslationOperation,
    operation_id="createTranslation",
    summary="Translate a recording",
    responses={**TRANSLATION_RESPONSES, **ERROR_RESPONSES},
)
async def create_translation(
    request: Request[Any, Any, Any], service: NamedDependency[SkipValidation[Service]]
) -> Response[Any]:
    """Speech to text in English, or in the language `to_language` names."""
    async with accepted(request, service, TranslationForm) as asked:
        form, spec = asked.form, asked.host.spec
        require_translatable(form, spec)
        audio = service.audio(asked.recording, form.audio_track)
        exchange = exchange_of(request.scope)
        job = service.job(asked.host, audio, translation_options(form, spec), exchange)
        answer = Answer(job, asked.place, exchange, asked.warnings(service.options), audio, spec=spec)
        if form.stream:
            events = Events(words=Granularity.WORD in form.timestamp_granularities)
            return await answer.stream(request, asked.resources, events)
        return await answer.whole(
            request, RenderOptions(response_format=form.response_format, translation=True)
        )
