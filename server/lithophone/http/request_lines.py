"""The request line in the forms it may take, made into the one the routes know.

Owns three things that HTTP says of every resource: an absolute address in the request line is as good as a path (RFC 9112,
3.2.2), HEAD answers wherever GET does (RFC 9110, 9.3.2), and a reverse proxy may put a path before every route.
"""

from __future__ import annotations

import re
from typing import Any, Final

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

_ABSOLUTE: Final = re.compile(r"(?i)(?:https?|wss?)://(?P<authority>[^/?#]*)")

HTTP_OR_SOCKET: Final = frozenset({ScopeType.HTTP, ScopeType.WEBSOCKET})


def normalised(app: ASGIApp, root_path: str = "") -> ASGIApp:
    """`app`, asked in one way whatever the request line looks like.

    Args:
        app: What answers; it sees GET for HEAD, and the server leaves out the body.
        root_path: Path before every route, which a proxy may have stripped off already.
    """
    prefix = "/" + root_path.strip("/") if root_path.strip("/") else ""

    async def normalising(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in HTTP_OR_SOCKET:
            scope = _below(prefix, _in_origin_form(scope))
        await app(scope, receive, send)

    return normalising


def answering_head(app: ASGIApp) -> ASGIApp:
    """`app`, asked for GET where HEAD was asked for; the server sends no body then."""

    async def answering(scope: Scope, receive: Receive, send: Send) -> None:
        asks_head = scope["type"] == ScopeType.HTTP and scope["method"] == "HEAD"
        await app(_with(scope, method="GET") if asks_head else scope, receive, send)

    return answering


def _in_origin_form(scope: Scope) -> Scope:
    """The path of an absolute address; its authority stands for the Host."""
    absolute = _ABSOLUTE.match(scope["path"])
    if absolute is None:
        return scope
    host = (b"host", absolute["authority"].encode("latin-1", "replace"))
    others = [(name, value) for name, value in scope["headers"] if name.lower() != b"host"]
    return _with(_moved(scope, scope["path"][absolute.end() :]), headers=[host, *others])


def _below(prefix: str, scope: Scope) -> Scope:
    """The path behind the prefix, which is told to those who make addresses; `raw_path` still tells it where it is all there is."""
    if not prefix:
        return scope
    path = scope["path"]
    if path == prefix:
        return _with(scope, path="/", root_path=prefix)
    inside = path.startswith(f"{prefix}/")
    return _with(_moved(scope, path.removeprefix(prefix)) if inside else scope, root_path=prefix)


def _moved(scope: Scope, path: str) -> Scope:
    return _with(scope, path=path or "/", raw_path=(path or "/").encode())


def _with(scope: Scope, **changed: Any) -> Any:
    """A copy: the server goes on using its own."""
    return {**scope, **changed}
