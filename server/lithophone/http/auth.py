"""Who may use the API.

Owns the check of the bearer token. It runs before the body is read; keys are neither logged nor echoed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from lithophone.errors import AuthenticationError
from lithophone.http.clients import remember_client
from lithophone.http.keys import Keys

Connection = ASGIConnection[Any, Any, Any, Any]
Guard = Callable[[Connection, BaseRouteHandler], Awaitable[None]]


def require_entry(connection: Connection, keys: Keys) -> None:
    """Check that a connection may come in: it shows one of `keys`, or there are none. Its owner is remembered.

    Raises:
        AuthenticationError: it may not.
    """
    if not keys.are_asked_for:
        return
    owner = keys.owner_of(bearer_token(connection.headers.get("authorization")))
    if owner is None:
        raise AuthenticationError("Incorrect API key.")
    remember_client(connection, owner)


def api_key_guard(keys: Keys) -> Guard:
    """A Litestar guard that asks `require_entry`. It is a coroutine because Litestar runs a plain function in a thread."""

    async def guard(connection: Connection, _: BaseRouteHandler) -> None:
        require_entry(connection, keys)

    return guard


def bearer_token(authorization: str | None) -> str:
    """The token of an `Authorization` header.

    Raises:
        AuthenticationError: no header, or not the bearer scheme.
    """
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise AuthenticationError("No API key: send it as `Authorization: Bearer KEY`.")
    return token.strip()
