"""`/health` and `/ready`. They need no API key."""

from __future__ import annotations

from litestar import get
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from lithophone.hosts.models import require_ready
from lithophone.http.answering import Service
from lithophone.http.openapi import UNAVAILABLE_RESPONSES
from lithophone.http.wire import Health, Readiness


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
