"""Every error this client raises on purpose, in one tree.

LithophoneError
├── TransportError               the answer did not arrive, or not the whole of it
│   ├── CannotConnectError       no connection, so nothing was sent; tried again
│   └── TimedOutError            the server was reached and then kept silent for too long
├── UnexpectedResponseError      an answer that is not what the API promises
└── APIError                     the server refused, and said why
    ├── BadRequestError          400
    ├── AuthenticationError      401
    ├── NotFoundError            404, an unknown model among others
    ├── PayloadTooLargeError     413, too many bytes or too many seconds
    ├── TooManyRequestsError     429, the queue is full; tried again
    ├── ServerError              5xx
    │   └── UnavailableError     503, loading or shutting down; tried again
    └── StreamFailedError        an `error` event in a stream that began well

A status without a class of its own is a plain `APIError`. Misuse of the client itself (an argument no method
takes, a closed file) is a `TypeError` or `ValueError`, as anywhere in Python.
This module knows neither httpx nor the wire: `_responses.py` builds these errors.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType


class LithophoneError(Exception):
    """Root of the tree. `message` is written for a person."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class TransportError(LithophoneError):
    """The answer did not arrive, or not the whole of it. The cause is the httpx error."""


class CannotConnectError(TransportError):
    """There is no connection, so the server has seen nothing of the request."""


class TimedOutError(TransportError):
    """The server kept silent for longer than `timeout_seconds`; it may still be at work."""


class UnexpectedResponseError(LithophoneError):
    """The server answered with something the API does not promise: another server, or a proxy between."""


class APIError(LithophoneError):
    """The server refused, and said why.

    Attributes:
        status: HTTP status code.
        type: the family of the error, such as `invalid_request_error`.
        code: the exact reason, such as `model_not_found`.
        param: the form field at fault.
        request_id: what to look for in the server's log.
        retry_after_seconds: when the server asks to be tried again.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        type: str | None = None,  # noqa: A002 - the name of the field on the wire
        code: str | None = None,
        param: str | None = None,
        request_id: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.type = type
        self.code = code
        self.param = param
        self.request_id = request_id
        self.retry_after_seconds = retry_after_seconds

    def __str__(self) -> str:
        """Status and message, then the particulars that are known."""
        known = {"code": self.code, "param": self.param, "request_id": self.request_id}
        particulars = ", ".join(f"{name}={value}" for name, value in known.items() if value)
        return f"{self.status}: {self.message}" + (f" ({particulars})" if particulars else "")


class BadRequestError(APIError):
    """400: the request cannot be understood or honoured; `param` names the field."""


class AuthenticationError(APIError):
    """401: no API key, or a wrong one."""


class NotFoundError(APIError):
    """404: no such model or path."""


class PayloadTooLargeError(APIError):
    """413: more bytes or more seconds than the server takes."""


class TooManyRequestsError(APIError):
    """429: the server's queue is full."""


class ServerError(APIError):
    """5xx: something broke on the other side."""


class UnavailableError(ServerError):
    """503: the model is loading, or the server is shutting down."""


class StreamFailedError(APIError):
    """An `error` event in a stream that began well, so `status` is that of the stream: 200."""


ERRORS_BY_STATUS: Mapping[int, type[APIError]] = MappingProxyType(
    {
        400: BadRequestError,
        401: AuthenticationError,
        404: NotFoundError,
        413: PayloadTooLargeError,
        429: TooManyRequestsError,
        503: UnavailableError,
    }
)
