"""Which web pages and names a request may come from.

Owns two questions. May a page from elsewhere read the answers (CORS)? Those that the operator lists may. And is somebody
asking through a browser who should not: a server without keys answers whoever reaches it, and a browser reaches it for any
page. Hence without keys a foreign `Origin` is refused, and a `Host` that is not this server's own, since a name can be
pointed at the loopback by whoever owns it (DNS rebinding). With keys any `Host` is let in unless the operator lists some.
Source: https://fetch.spec.whatwg.org/#http-cors-protocol.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from lithophone.errors import ConfigurationError, ForbiddenError, ForeignHostError, ForeignOriginError
from lithophone.http.errors import send_error
from lithophone.http.options import HttpOptions
from lithophone.http.quoting import quote
from lithophone.http.request_lines import HTTP_OR_SOCKET

ANY: Final = "*"
EXPOSED: Final = "openai-processing-ms, retry-after, x-lithophone-warning, x-request-id"
PREFLIGHT_SECONDS: Final = 600
METHODS: Final = "GET, HEAD, POST, OPTIONS"
DEFAULT_PORTS: Final = {"http": 80, "https": 443}

_ORIGIN: Final = re.compile(r"null|\*|[a-z][a-z0-9+.-]*://[^/\s]+", re.IGNORECASE)
_HOST: Final = re.compile(r"(?P<name>\[[^\]]*\]|[^:]*)(?::(?P<port>\d+))?")


class Visit(NamedTuple):
    """Where a request comes from and through, in its own words; `arrived_at` is the address of this end of the connection."""

    host: str | None
    origin: str | None
    arrived_at: str | None

    @classmethod
    def of(cls, scope: Scope) -> Visit:
        """The visit a connection is."""
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        server = scope["server"]
        return cls(headers.get(b"host"), headers.get(b"origin"), server[0] if server else None)


class Doors:
    """Who is let in, and who may read the answer.

    Args:
        cors_origins: Origins of pages that may ask and read.
        allowed_hosts: Names of this server beside those of the loopback.
        open_to_all: There are no keys.

    Raises:
        ConfigurationError: an origin is none.
    """

    def __init__(
        self, cors_origins: Iterable[str] = (), allowed_hosts: Iterable[str] = (), *, open_to_all: bool = True
    ) -> None:
        self._origins = frozenset(_checked_origin(origin) for origin in cors_origins)
        self._hosts = frozenset(host_name(host) for host in allowed_hosts)
        self._open_to_all = open_to_all

    def refusal(self, visit: Visit) -> ForbiddenError | None:
        """Why the visit is refused; `None` where it is not. A server with keys asks for one instead of an origin."""
        if visit.host is not None and self._is_foreign_host(visit.host, visit.arrived_at):
            named = host_name(visit.host)
            return ForeignHostError(
                f"This server does not answer as {quote(named)}. Start it with --allowed-hosts {named[:100]}"
                + (", or with --api-keys." if self._open_to_all else ".")
            )
        if (
            self._open_to_all
            and visit.origin is not None
            and self._is_foreign_origin(visit.origin, visit.host)
        ):
            return ForeignOriginError(
                f"This server has no API keys and does not answer pages of {quote(visit.origin)}. Start it with "
                "--cors-origins and that origin, or with --api-keys."
            )
        return None

    def may_read(self, origin: str) -> bool:
        """Whether pages of this origin are listed."""
        return ANY in self._origins or origin.lower() in self._origins

    def shared_as(self, origin: str) -> dict[str, str]:
        """What tells a browser that a page of this listed origin may read the answer."""
        if ANY in self._origins:
            return {"access-control-allow-origin": ANY}
        return {"access-control-allow-origin": origin, "vary": "Origin"}

    def _is_foreign_host(self, host: str, arrived_at: str | None) -> bool:
        if not self._open_to_all and not self._hosts:
            return False
        name = host_name(host)
        if ANY in self._hosts or name in self._hosts or _is_loopback(name):
            return False
        # An address is no name that somebody could point here; one that the loopback was not asked by is the network's.
        return _address(name) is None or _is_loopback(arrived_at or "localhost")

    def _is_foreign_origin(self, origin: str, host: str | None) -> bool:
        if self.may_read(origin):
            return False
        parts = urlsplit(origin.lower())
        default = f":{DEFAULT_PORTS.get(parts.scheme, '')}"
        same = parts.netloc.removesuffix(default) == (host or "").lower().removesuffix(default)
        return not parts.netloc or not (same or host_name(parts.netloc) in self._hosts)


def doors_of(options: HttpOptions) -> Doors:
    """The doors that the options ask for.

    Raises:
        ConfigurationError: an origin is none.
    """
    return Doors(options.cors_origins, options.allowed_hosts, open_to_all=not options.keys.are_asked_for)


def guarded(app: ASGIApp, doors: Doors) -> ASGIApp:
    """`app` behind the doors: refused visits end here, and so do the questions of a browser whether a page may ask."""

    async def guarding(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in HTTP_OR_SOCKET:
            await app(scope, receive, send)
            return
        visit = Visit.of(scope)
        error = doors.refusal(visit)
        if error is not None:
            await send_error(scope, send, error)
        elif visit.origin is None or not doors.may_read(visit.origin):
            await app(scope, receive, send)
        elif wanted := _preflight(scope):
            await _answer_preflight(send, doors.shared_as(visit.origin), wanted)
        else:
            await app(scope, receive, _sharing(send, doors.shared_as(visit.origin)))

    return guarding


def host_name(host: str) -> str:
    """The name in a `Host` header or an authority, in lower case, without port, brackets or the root's dot."""
    match = _HOST.fullmatch(host.strip().lower())
    return match["name"].strip("[]").removesuffix(".") if match else host.lower()


def _checked_origin(text: str) -> str:
    origin = text.strip().lower().removesuffix("/")
    if not _ORIGIN.fullmatch(origin):
        raise ConfigurationError(
            f"--cors-origins {text}: an origin is a scheme and a host, as https://notes.example, or *"
        )
    return origin


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _is_loopback(name: str) -> bool:
    address = _address(name)
    if address is None:
        return name == "localhost" or name.endswith(".localhost")
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


class _Preflight(NamedTuple):
    headers: str
    private_network: bool


def _preflight(scope: Scope) -> _Preflight | None:
    """What a browser asks before a page's request, if this is such a question."""
    if scope["type"] != ScopeType.HTTP or scope["method"] != "OPTIONS":
        return None
    asked = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
    if b"access-control-request-method" not in asked:
        return None
    return _Preflight(
        asked.get(b"access-control-request-headers", ""),
        asked.get(b"access-control-request-private-network") == "true",
    )


async def _answer_preflight(send: Send, shared: dict[str, str], wanted: _Preflight) -> None:
    """Any header is allowed, `authorization` and the SDKs' `x-stainless-…` among them: the page is listed."""
    headers = {
        **shared,
        "access-control-allow-methods": METHODS,
        "access-control-allow-headers": wanted.headers or "authorization, content-type",
        "access-control-max-age": str(PREFLIGHT_SECONDS),
        "vary": "Origin, Access-Control-Request-Headers",
        **({"access-control-allow-private-network": "true"} if wanted.private_network else {}),
    }
    await send({"type": "http.response.start", "status": 204, "headers": _encoded(headers)})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _sharing(send: Send, shared: dict[str, str]) -> Send:
    """`send`, with what tells the browser that the page may read the answer."""
    added = _encoded({**shared, "access-control-expose-headers": EXPOSED})

    async def sharing(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message["headers"], *added]
        await send(message)

    return sharing


def _encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
