"""Between this client's words and httpx's, for both clients: connection settings, headers, errors. No I/O."""

from __future__ import annotations

import secrets
from collections.abc import Generator
from contextlib import contextmanager

import httpx

from lithophone_client._errors import CannotConnectError, TimedOutError, TransportError
from lithophone_client._multipart import MultipartForm, multipart_form
from lithophone_client._requests import Call

DEFAULT_BASE_URL = "http://127.0.0.1:8000"
DEFAULT_TIMEOUT_SECONDS = 600.0
_CONNECT_TIMEOUT_SECONDS = 5.0
_NOTHING_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


def server_root(base_url: str) -> str:
    """The root of the server; the `/v1` that OpenAI's SDKs want may be there or not."""
    return base_url.rstrip("/").removesuffix("/v1")


def session_headers(api_key: str | None) -> dict[str, str]:
    """Headers of every request."""
    headers = {"User-Agent": "lithophone-client"}
    if api_key is not None:
        headers["Authorization"] = f"Bearer {api_key}"
    return headers


def session_timeout(timeout_seconds: float) -> httpx.Timeout:
    """`timeout_seconds` for each read and write; a connection has to stand sooner."""
    return httpx.Timeout(timeout_seconds, connect=min(timeout_seconds, _CONNECT_TIMEOUT_SECONDS))


def form_of(call: Call) -> MultipartForm | None:
    """The form of a call that carries a file, with a boundary nobody can guess."""
    if call.upload is None:
        return None
    return multipart_form(call.fields, call.upload.name, boundary=secrets.token_hex(16))


def form_headers(form: MultipartForm, file_bytes: int | None) -> dict[str, str]:
    """Headers of the body; without a length httpx sends it in chunks."""
    length = form.content_length(file_bytes)
    headers = {"Content-Type": form.content_type}
    return headers if length is None else headers | {"Content-Length": str(length)}


@contextmanager
def transport_errors() -> Generator[None, None, None]:
    """Turn httpx's errors into this client's.

    Raises:
        CannotConnectError: no connection.
        TimedOutError: a connection, and then silence.
        TransportError: everything else that broke on the way.
    """
    try:
        yield
    except _NOTHING_SENT as error:
        raise CannotConnectError(f"cannot connect: {error}") from error
    except httpx.TimeoutException as error:
        raise TimedOutError(f"no answer in time: {type(error).__name__}") from error
    except httpx.RequestError as error:
        raise TransportError(f"the connection broke: {str(error) or type(error).__name__}") from error
