"""The application: routes, limits, keys, and what surrounds every request.

Owns how the HTTP layer is put together. Reads no settings: it is given an engine and options.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from litestar import Litestar, Router
from litestar.di import Provide

from lithophone.engine.engine import Engine
from lithophone.http.answering import AudioSource, Service, decoded_blocks
from lithophone.http.auth import api_key_guard
from lithophone.http.catalogue import Catalogue
from lithophone.http.errors import answer_failure
from lithophone.http.exchange import observed
from lithophone.http.models import list_models, retrieve_model
from lithophone.http.openapi import BEARER, openapi_config
from lithophone.http.options import HttpOptions
from lithophone.http.probes import health, ready, welcome
from lithophone.http.transcriptions import create_transcription
from lithophone.http.translations import create_translation


def create_app(
    engine: Engine, options: HttpOptions | None = None, audio_source: AudioSource = decoded_blocks
) -> Litestar:
    """The ASGI application over `engine`, which starts and stops with it.

    Args:
        engine: Not yet started.
        options: Limits and keys.
        audio_source: Turns an uploaded file into PCM.
    """
    options = options or HttpOptions()
    catalogue = Catalogue(engine.model_id, engine.spec)
    service = Service(engine, options, catalogue, audio_source)
    v1 = Router(
        "/v1",
        route_handlers=[create_transcription, create_translation, list_models, retrieve_model],
        guards=[api_key_guard(options.api_keys)],
        security=[{BEARER: []}],
        tags=["OpenAI"],
    )

    @asynccontextmanager
    async def engine_runs(_: Litestar) -> AsyncGenerator[None, None]:
        await engine.start()
        try:
            yield
        finally:
            await engine.stop()

    app = Litestar(
        [v1, health, ready, welcome],
        dependencies={
            "engine": Provide(lambda: engine, sync_to_thread=False),
            "catalogue": Provide(lambda: catalogue, sync_to_thread=False),
            "service": Provide(lambda: service, sync_to_thread=False),
        },
        exception_handlers={Exception: answer_failure},
        lifespan=[engine_runs],
        logging_config=None,
        openapi_config=openapi_config(),
        request_max_body_size=options.max_body_bytes,
    )
    app.asgi_handler = observed(app.asgi_handler)
    return app
