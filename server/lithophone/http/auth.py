"""Who may use the API.

Owns the one question that routes and sockets ask: may this connection come in? It is asked before a body is read or a socket
accepted; keys are neither logged nor echoed.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from litestar.connection import ASGIConnection
from litestar.enums import ScopeType
from litestar.handlers.base import BaseRouteHandler

from lithophone.errors import AuthenticationError

Connection = ASGIConnection[Any, Any, Any, Any]
Guard = Callable[[Connection, BaseRouteHandler], Awaitable[None]]

KEY_PROTOCOL: Final = "openai-insecure-api-key."
"""Before a key that comes as the name of a WebSocket subprotocol: a browser can send no header with a socket."""


def require_entry(
    connection: Connection, api_keys: Sequence[str], *, also: Callable[[str], bool] | None = None
) -> None:
    """Check that a connection may come in: it shows one of `api_keys`, or none are set.

    Args:
        connection: A request, or a socket that was not accepted yet.
        api_keys: Keys that open the door; without any it is open.
        also: Tells other tokens that open it.

    Raises:
        AuthenticationError: it may not.
    """
    if not api_keys:
        return
    token = shown_token(connection)
    if not _matches(token, [key.encode() for key in api_keys]) and not (also and also(token)):
        raise AuthenticationError("Incorrect API key.")


def api_key_guard(api_keys: Sequence[str]) -> Guard:
    """A Litestar guard that asks `require_entry`. It is a coroutine because Litestar runs a plain function in a thread."""

    async def guard(connection: Connection, _: BaseRouteHandler) -> None:
        require_entry(connection, api_keys)

    return guard


def shown_token(connection: Connection) -> str:
    """The key or token a connection shows, in its `Authorization` header or as a subprotocol.

    Raises:
        AuthenticationError: it shows none.
    """
    for name in subprotocols(connection):
        if name.startswith(KEY_PROTOCOL):
            return name.removeprefix(KEY_PROTOCOL)
    return bearer_token(connection.headers.get("authorization"))


def subprotocols(connection: Connection) -> Sequence[str]:
    """What a client offers to speak over a socket; none for a request."""
    scope = connection.scope
    return scope["subprotocols"] if scope["type"] == ScopeType.WEBSOCKET else ()


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
