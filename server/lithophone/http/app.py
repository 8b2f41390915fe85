"""The application: routes, limits, keys, and what surrounds every request.

Owns how the HTTP layer is put together. Reads no settings: it is given models and options.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

from litestar import Litestar, Router
from litestar.di import Provide
from litestar.types import ControllerRouterHandler

from lithophone.audio.decode import DecodedAudio
from lithophone.backends.base import VoiceDetector
from lithophone.engine.admission import Admission
from lithophone.engine.language import prepare_detection
from lithophone.engine.shortages import Shortages
from lithophone.hosts.models import Models
from lithophone.http.answering import AudioSource, Service
from lithophone.http.auth import api_key_guard
from lithophone.http.catalogue import Catalogue
from lithophone.http.doors import doors_of, guarded
from lithophone.http.errors import answer_failure
from lithophone.http.exchange import Exchange, noting_route, observed
from lithophone.http.limits import limited
from lithophone.http.metrics import Kept, Metrics, metrics_page
from lithophone.http.models import list_models, load_or_unload_model, model_methods, retrieve_model
from lithophone.http.openapi import BEARER, openapi_config
from lithophone.http.options import HttpOptions
from lithophone.http.page import front_door, page_asset
from lithophone.http.probes import health, ready
from lithophone.http.realtime.places import LivePlaces
from lithophone.http.realtime.routes import LiveService, create_client_secret, realtime
from lithophone.http.realtime.secrets import ClientSecrets
from lithophone.http.request_lines import answering_head, normalised
from lithophone.http.storage import Uploads
from lithophone.http.telemetry import Traced, untraced
from lithophone.http.transcriptions import create_transcription
from lithophone.http.translations import create_translation

DEFAULT_LIVE_SESSIONS = 32


def create_app(
    models: Models,
    admission: Admission,
    *,
    places: LivePlaces | None = None,
    voice: VoiceDetector | None = None,
    options: HttpOptions | None = None,
    audio_source: AudioSource = DecodedAudio,
    traced: Traced = untraced,
) -> Litestar:
    """The ASGI application over `models`, which start and stop with it.

    Args:
        models: Not yet started.
        admission: Who may come in.
        places: Of live sessions.
        voice: Tells voice from silence; without it recordings are cut by energy alone, and there are no live sessions.
        options: Limits and keys.
        audio_source: Turns an uploaded file into PCM.
        traced: Wraps the application so that requests leave traces.
    """
    options = options or HttpOptions()
    catalogue = Catalogue(models, options.aliases)
    service = Service(
        models=models,
        admission=admission,
        uploads=Uploads(options.max_uploads, options.max_stored_bytes),
        shortages=Shortages(),
        catalogue=catalogue,
        options=options,
        audio_source=audio_source,
        voice=voice,
    )
    places = places or LivePlaces(DEFAULT_LIVE_SESSIONS)
    metrics = Metrics(Kept(models, admission, options.decoder_memory, places))
    dependencies = {"service": _shared(service), "metrics": _shared(metrics)}
    if voice is not None:
        live = LiveService(
            models=models,
            catalogue=catalogue,
            options=options,
            voice=voice,
            places=places,
            metrics=metrics,
            secrets=ClientSecrets(),
        )
        dependencies["live"] = _shared(live)
    app = Litestar(
        _routes(options, live=voice is not None),
        dependencies=dependencies,
        exception_handlers={Exception: answer_failure},
        lifespan=[partial(_models_run, models)],
        logging_config=None,
        openapi_config=openapi_config(),
        request_max_body_size=options.max_body_bytes,
    )
    routed = noting_route(app.asgi_handler)
    inside = guarded(answering_head(limited(routed, admission.deadlines)), doors_of(options))

    def note_shortage(exchange: Exchange) -> None:
        if exchange.lacking:
            service.shortages.note(exchange.lacking)

    outside = observed(inside, note_shortage, metrics.count, leaving=lambda: admission.leaving)
    app.asgi_handler = normalised(traced(outside), options.root_path)
    return app


def _routes(options: HttpOptions, *, live: bool) -> list[ControllerRouterHandler]:
    """All there is; live sessions ask for the key themselves, since they refuse a handshake."""
    guards = [api_key_guard(options.keys)]
    v1 = Router(
        "/v1",
        route_handlers=[
            create_transcription,
            create_translation,
            list_models,
            model_methods,
            retrieve_model,
            load_or_unload_model,
            *([create_client_secret] if live else []),
        ],
        guards=guards,
        security=[{BEARER: []}],
        tags=["OpenAI"],
    )
    counted = Router("/", route_handlers=[metrics_page], guards=guards)
    sockets = [Router("/v1", route_handlers=[realtime])] if live else []
    return [v1, counted, health, ready, front_door, page_asset, *sockets]


def _shared(made: object) -> Provide:
    """One for all requests."""
    return Provide(lambda: made, sync_to_thread=False)


@asynccontextmanager
async def _models_run(models: Models, _: Litestar) -> AsyncGenerator[None, None]:
    languages = models.default.spec.speech_languages
    preparing = asyncio.create_task(asyncio.to_thread(prepare_detection, languages))
    models.start()
    try:
        yield
    finally:
        await models.stop()
        await preparing
