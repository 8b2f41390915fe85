"""Who may use the API.

Owns the check of the bearer token. It runs before the body is read; keys are neither logged nor echoed.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers.base import BaseRouteHandler

from lithophone.errors import AuthenticationError

Guard = Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], Awaitable[None]]


def api_key_guard(api_keys: Sequence[str]) -> Guard:
    """A Litestar guard that lets through who shows one of `api_keys`; without keys, everybody.

    The guard raises `AuthenticationError`. It is a coroutine because Litestar runs a plain function in a thread.
    """
    known = [key.encode() for key in api_keys]

    async def guard(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        if known and not _matches(bearer_token(connection.headers.get("authorization")), known):
            raise AuthenticationError("Incorrect API key.")

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


def _matches(token: str, known: Sequence[bytes]) -> bool:
    """Compares with every key in constant time, so that time tells nothing about any."""
    shown = token.encode()
    return sum(hmac.compare_digest(shown, key) for key in known) > 0
