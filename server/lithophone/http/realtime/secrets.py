"""Tokens for browsers: short-lived, signed, and good for live sessions alone.

A token holds its own end and what the session shall be; the server keeps nothing of it but the key it was signed with,
which is made anew at every start.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
import time
import zlib
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from lithophone.errors import InvalidRequestError

PREFIX: Final = "ek_"
LONGEST_TOKEN: Final = 6_000
"""Characters: it is sent in a header, of which servers and proxies take about 8,000."""

_SIGNATURE_BYTES: Final = 32


class ClientSecret(NamedTuple):
    """A token, and when it ends (seconds since 1970)."""

    value: str
    expires_at: int


class _Claims(msgspec.Struct, frozen=True, array_like=True):
    expires_at: int
    session: dict[str, Any]
    nonce: str


class ClientSecrets:
    """Issues tokens and reads them.

    Args:
        clock: Seconds since 1970.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._key = secrets.token_bytes(_SIGNATURE_BYTES)
        self._clock = clock

    def issue(self, session: dict[str, Any], seconds: int) -> ClientSecret:
        """A token for sessions that begin as `session` says.

        Raises:
            InvalidRequestError: the session's configuration is too long to be carried in a token.
        """
        claims = _Claims(int(self._clock()) + seconds, session, secrets.token_hex(8))
        packed = zlib.compress(msgspec.json.encode(claims))
        value = PREFIX + _text(self._signature(packed) + packed)
        if len(value) > LONGEST_TOKEN:
            raise InvalidRequestError("The session is too long for a token.", param="session")
        return ClientSecret(value, claims.expires_at)

    def opens(self, token: str) -> bool:
        """Whether a token is good."""
        return self.session_of(token) is not None

    def session_of(self, token: str) -> dict[str, Any] | None:
        """What a session with this token shall be; None where the token is none, or none any more."""
        if not token.startswith(PREFIX) or len(token) > LONGEST_TOKEN:
            return None
        try:
            raw = base64.urlsafe_b64decode(token[len(PREFIX) :] + "===")
        except (binascii.Error, ValueError):
            return None
        signature, packed = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, self._signature(packed)):
            return None
        claims = msgspec.json.decode(zlib.decompress(packed), type=_Claims)
        return claims.session if claims.expires_at > self._clock() else None

    def _signature(self, packed: bytes) -> bytes:
        return hmac.digest(self._key, packed, "sha256")


def _text(raw: bytes) -> str:
    """Letters that may stand in the name of a subprotocol (RFC 9110, 5.6.2)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
