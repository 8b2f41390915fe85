"""`/v1/realtime`, the same socket where some clients look for it, and `POST /v1/realtime/client_secrets`."""

from __future__ import annotations

import secrets
import time
from contextlib import ExitStack
from typing import Annotated, Any, Final, Literal

import msgspec
from litestar import Request, Response, WebSocket, post, websocket
from litestar.di import NamedDependency
from litestar.params import JSONBody, SkipValidation
from msgspec import Meta
from structlog.contextvars import bound_contextvars

from lithophone.backends.base import VoiceDetector
from lithophone.errors import AuthenticationError, InvalidRequestError, ModelNotFoundError, ServiceError
from lithophone.hosts.models import Models
from lithophone.http.auth import Connection, require_entry, shown_token, subprotocols
from lithophone.http.catalogue import Catalogue
from lithophone.http.errors import answer_failure, envelope
from lithophone.http.exchange import request_id_of
from lithophone.http.metrics import Metrics
from lithophone.http.openapi import ERROR_RESPONSES
from lithophone.http.options import HttpOptions
from lithophone.http.realtime.configuration import Json, from_beta, merged, read
from lithophone.http.realtime.conversation import Conversation, Limits, Socket
from lithophone.http.realtime.documents import Session, session_document
from lithophone.http.realtime.places import LivePlaces
from lithophone.http.realtime.secrets import ClientSecrets
from lithophone.http.realtime.wishes import warnings_for
from lithophone.http.wire import ErrorEnvelope

PROTOCOL: Final = "realtime"
BETA_PROTOCOL: Final = "openai-beta.realtime-v1"
BETA_HEADER: Final = "realtime=v1"
DEFAULT_SECRET_SECONDS: Final = 600


class LiveService(msgspec.Struct, frozen=True, kw_only=True):
    """What live sessions need."""

    models: Models
    catalogue: Catalogue
    options: HttpOptions
    voice: VoiceDetector
    places: LivePlaces
    metrics: Metrics
    secrets: ClientSecrets


@websocket(["/realtime", "/audio/transcriptions"])
async def realtime(
    socket: WebSocket[Any, Any, Any], live: NamedDependency[SkipValidation[LiveService]]
) -> None:
    """A live transcription session. The second path is where clients end up that only replace `http` by `ws`."""
    request_id = request_id_of(socket.scope)
    with bound_contextvars(request_id=request_id), ExitStack() as place:
        try:
            require_entry(socket, live.options.keys, also=live.secrets.opens)
            place.enter_context(live.places.admit())
            conversation = _conversation(socket, live)
        except ServiceError as error:
            live.metrics.count_refused_session(error)
            await _refuse(socket, error, request_id)
            return
        await socket.accept(
            subprotocols=PROTOCOL if PROTOCOL in subprotocols(socket) else None,
            headers={"x-request-id": request_id},
        )
        await conversation.run()


def _conversation(socket: WebSocket[Any, Any, Any], live: LiveService) -> Conversation:
    """The session as the address, the token and the server's options make it."""
    return Conversation(
        Socket(socket.receive, socket.send),
        models=live.models,
        catalogue=live.catalogue,
        voice=live.voice,
        limits=Limits(live.options.live_idle_seconds, live.options.live_session_seconds),
        places=live.places,
        document=merged(_hinted(socket, live), _promised(socket, live)),
        beta=_speaks_beta(socket),
    )


def _hinted(socket: Connection, live: LiveService) -> Json:
    """The `model` of the address is a hint: many clients name one of a conversation there."""
    model = socket.query_params.get("model")
    try:
        live.catalogue.resolve(model or "")
    except ModelNotFoundError:
        return {}
    return {"audio": {"input": {"transcription": {"model": model}}}}


def _promised(socket: Connection, live: LiveService) -> Json:
    """What the token says that the session shall be."""
    try:
        return live.secrets.session_of(shown_token(socket)) or {}
    except AuthenticationError:
        return {}


def _speaks_beta(socket: Connection) -> bool:
    return BETA_HEADER in socket.headers.get("openai-beta", "") or BETA_PROTOCOL in subprotocols(socket)


async def _refuse(socket: WebSocket[Any, Any, Any], error: ServiceError, request_id: str) -> None:
    """Answer the handshake as any request would be."""
    headers = {"content-type": "application/json", "x-request-id": request_id, **error.headers}
    await socket.send(
        {
            "type": "websocket.http.response.start",
            "status": error.status,
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        }
    )
    body = msgspec.json.encode(envelope(error))
    await socket.send({"type": "websocket.http.response.body", "body": body, "more_body": False})


class ExpiresAfter(msgspec.Struct, frozen=True, kw_only=True):
    """When a token ends."""

    anchor: Literal["created_at"] = "created_at"
    seconds: Annotated[int, Meta(ge=10, le=7200, description="From now on")] = DEFAULT_SECRET_SECONDS


class ClientSecretRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a token shall be good for."""

    expires_after: ExpiresAfter | None = None
    session: Annotated[dict[str, Any], Meta(description="As in `session.update`")] = {}


class ClientSecretAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A token, when it ends (seconds since 1970), and what sessions with it will be."""

    value: str
    expires_at: int
    session: Session


def answer_too_deep(request: Request[Any, Any, Any], _: Exception) -> Response[ErrorEnvelope]:
    """For a `RecursionError`: here, nothing but the client's own document is followed so deep."""
    return answer_failure(request, InvalidRequestError("The body is nested too deep."))


@post(
    "/realtime/client_secrets",
    status_code=200,
    exception_handlers={RecursionError: answer_too_deep},
    operation_id="createRealtimeClientSecret",
    summary="A short-lived token for a browser",
    responses=ERROR_RESPONSES,
    sync_to_thread=False,
)
def create_client_secret(
    data: JSONBody[ClientSecretRequest], live: NamedDependency[SkipValidation[LiveService]]
) -> ClientSecretAnswer:
    """It opens `/v1/realtime` and nothing else; it can open several sessions, which may outlast it."""
    document = from_beta(data.session)
    configuration = read(document)
    name = configuration.transcription.model
    host = live.models.default if name is None else live.models[live.catalogue.resolve(name)]
    after = data.expires_after or ExpiresAfter()
    secret = live.secrets.issue(document, after.seconds)
    return ClientSecretAnswer(
        value=secret.value,
        expires_at=secret.expires_at,
        session=session_document(
            f"sess_{secrets.token_hex(12)}",
            int(time.time() + live.options.live_session_seconds),
            configuration,
            model_id=host.model_id,
            warnings=warnings_for(configuration, host.spec),
        ),
    )
