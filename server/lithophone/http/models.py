"""`GET /v1/models` and `GET /v1/models/{id}`, and for operators `POST /v1/models/{id}/load` and `/unload`."""

from __future__ import annotations

from pathlib import PurePath

from litestar import HttpMethod, Response, get, post, route
from litestar.di import NamedDependency
from litestar.exceptions import NotFoundException
from litestar.params import FromPath, SkipValidation

from lithophone.hosts.base import HostState
from lithophone.http.answering import Service
from lithophone.http.openapi import ERROR_RESPONSES, IN_USE_RESPONSES
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


@post(
    "/models/{model_id:path}",
    operation_id="loadOrUnloadModel",
    summary="Load or unload a model",
    description="`{id}/load` loads a model and waits as long as a request would (202 if it is still loading then); "
    "`{id}/unload` gives its memory back, unless it is at work. The next request loads it again.",
    status_code=200,
    responses={**ERROR_RESPONSES, **IN_USE_RESPONSES},
)
async def load_or_unload_model(
    model_id: FromPath[PurePath], service: NamedDependency[SkipValidation[Service]]
) -> Response[Model]:
    """The id may hold slashes, so that the verb is cut off here. Named as in `retrieve_model`, or it were another path."""
    name, verb = str(model_id.parent).removeprefix("/"), model_id.name
    resolved = service.catalogue.resolve(name)
    if verb == "load":
        host = await service.models.load(resolved)
        return Response(
            service.catalogue.model(name), status_code=200 if host.state is HostState.READY else 202
        )
    if verb == "unload":
        await service.models.unload(resolved)
        return Response(service.catalogue.model(name))
    raise NotFoundException


@route(
    "/models/{model_id:path}", http_method=HttpMethod.OPTIONS, include_in_schema=False, sync_to_thread=False
)
def model_methods() -> Response[None]:
    """What may be asked of a model: Litestar would tell the method of the first handler alone. Registered before the others."""
    return Response(None, status_code=204, headers={"allow": "GET, OPTIONS, POST"})
