"""`/health`, `/ready`, and a word of welcome on `/`. They need no API key."""

from __future__ import annotations

from typing import Any

from litestar import Request, get
from litestar.di import NamedDependency
from litestar.enums import MediaType
from litestar.params import SkipValidation

from lithophone.granite.family import demonstration_note
from lithophone.hosts.models import require_ready
from lithophone.http.answering import Service
from lithophone.http.openapi import UNAVAILABLE_RESPONSES
from lithophone.http.wire import Health, Readiness

WELCOME = """\
Lithophone: OpenAI's audio API in front of IBM Granite Speech.

  curl {base_url}v1/audio/transcriptions -F file=@recording.wav -F model={model}

Model: {model}
State: {state}
API description: {base_url}schema
{note}"""


@get("/health", operation_id="health", summary="Is the process alive?", sync_to_thread=False)
def health() -> Health:
    """Always `ok`, whatever the model does."""
    return Health()


@get(
    "/ready",
    operation_id="ready",
    summary="Can a model answer?",
    sync_to_thread=False,
    responses=UNAVAILABLE_RESPONSES,
)
def ready(service: NamedDependency[SkipValidation[Service]]) -> Readiness:
    """200 if a transcription would be answered (an unloaded model loads on demand), else 503 with the reason."""
    service.admission.require_open()
    host = service.models.default
    require_ready(host)
    return Readiness(
        state=host.state.value,
        model=host.model_id,
        device=None if host.info is None else host.info.device,
        dtype=None if host.info is None else host.info.dtype,
        models={one.model_id: one.state.value for one in service.models.hosts},
    )


@get("/", include_in_schema=False, media_type=MediaType.TEXT, sync_to_thread=False)
def welcome(request: Request[Any, Any, Any], service: NamedDependency[SkipValidation[Service]]) -> str:
    """For the person who opens the address in a browser."""
    host = service.models.default
    note = demonstration_note(host.spec)
    return WELCOME.format(
        base_url=request.base_url,
        model=host.model_id,
        state=host.state.value,
        note=f"\n{note}\n" if note else "",
    )
