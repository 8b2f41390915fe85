"""`GET /v1/models` and `GET /v1/models/{id}`."""

from __future__ import annotations

from pathlib import PurePath

from litestar import get
from litestar.di import NamedDependency
from litestar.params import FromPath, SkipValidation

from lithophone.http.answering import Service
from lithophone.http.openapi import ERROR_RESPONSES
from lithophone.http.wire import Model, ModelList


@get(
    "/models",
    operation_id="listModels",
    summary="The models",
    sync_to_thread=False,
    responses=ERROR_RESPONSES,
)
def list_models(service: NamedDependency[SkipValidation[Service]]) -> ModelList:
    """The served models, then their aliases."""
    return service.catalogue.listing()


@get(
    "/models/{model_id:path}",
    operation_id="retrieveModel",
    summary="One model",
    sync_to_thread=False,
    responses=ERROR_RESPONSES,
)
def retrieve_model(model_id: FromPath[PurePath], service: NamedDependency[SkipValidation[Service]]) -> Model:
    """A model or alias; the id may hold slashes."""
    return service.catalogue.model(str(model_id).removeprefix("/"))
