"""How a failure leaves the server.

Owns the one mapping from exceptions to OpenAI's error object. What was not raised on purpose says nothing of the
inside: the log has it, under the request id.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from litestar import Request, Response
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException
from litestar.types import Scope, Send

from lithophone.errors import (
    AuthenticationError,
    InternalError,
    InvalidRequestError,
    MethodNotAllowedError,
    NotFoundError,
    PayloadTooLargeError,
    ServiceError,
    shortage_behind,
)
from lithophone.http.exchange import exchange_of
from lithophone.http.quoting import quote
from lithophone.http.wire import ErrorBody, ErrorEnvelope

log = structlog.get_logger(__name__)

INTERNAL_MESSAGE = "Something went wrong in the server. Its log tells more under this x-request-id."


def service_error(failure: Exception, request: Request[Any, Any, Any] | None = None) -> ServiceError:
    """The `ServiceError` the client is told; `failure` itself if it is one.

    Args:
        failure: What was raised.
        request: Named in the message of an unknown path or method.
    """
    if isinstance(failure, ServiceError):
        return failure
    if isinstance(failure, HTTPException):
        return _framework_error(
            failure, "" if request is None else f"{request.method} {quote(request.scope['path'])}"
        )
    return shortage_behind(failure) or InternalError(INTERNAL_MESSAGE)


def envelope(error: ServiceError) -> ErrorEnvelope:
    """The body of an error response, and the data of an `error` event."""
    return ErrorEnvelope(
        ErrorBody(message=error.message, type=error.type, param=error.param, code=error.code)
    )


def answer_failure(request: Request[Any, Any, Any], failure: Exception) -> Response[ErrorEnvelope]:
    """Litestar's exception handler for everything."""
    error = service_error(failure, request)
    exchange_of(request.scope).fail(error)
    if isinstance(error, InternalError):
        log_internal(failure)
    return Response(
        envelope(error),
        status_code=error.status,
        headers=error.headers,
        media_type="application/json",
    )


async def send_error(scope: Scope, send: Send, error: ServiceError) -> None:
    """The answer to a request, or to the handshake of a socket, that never reaches the routes; its body is not read."""
    if scope["type"] == ScopeType.HTTP:
        exchange_of(scope).fail(error)
    start, body = (
        ("http.response.start", "http.response.body")
        if scope["type"] == ScopeType.HTTP
        else ("websocket.http.response.start", "websocket.http.response.body")
    )
    headers = {"content-type": "application/json", "connection": "close"} | error.headers
    encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    messages: list[Any] = [
        {"type": start, "status": error.status, "headers": encoded},
        {"type": body, "body": msgspec.json.encode(envelope(error)), "more_body": False},
    ]
    for message in messages:
        await send(message)


def log_internal(failure: Exception) -> None:
    """What broke, for the operator; the request id is bound by the exchange."""
    log.error("request_failed", exc_info=failure)


def _framework_error(failure: HTTPException, asked: str) -> ServiceError:
    match failure.status_code:
        case HTTPStatus.NOT_FOUND:
            return NotFoundError(f"There is no {asked}. The routes are listed under /schema.")
        case HTTPStatus.METHOD_NOT_ALLOWED:
            allowed = (failure.headers or {}).get("allow", "")
            allowed = allowed.replace("GET", "GET, HEAD")  # see `request_lines`
            return MethodNotAllowedError(
                f"{asked} is not possible here; the methods are {allowed}.", allowed=allowed
            )
        case HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return PayloadTooLargeError("The request body is too large.")
        case HTTPStatus.UNAUTHORIZED:
            return AuthenticationError(failure.detail)
        case status if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            return InvalidRequestError(failure.detail)
        case _:
            return InternalError(INTERNAL_MESSAGE)
