"""Between this client's words and httpx's, for both clients: connection settings, bodies, errors. Sends nothing."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, TypedDict

import httpx

from lithophone_client._errors import CannotConnectError, TimedOutError, TransportError
from lithophone_client._multipart import MultipartForm, multipart_form
from lithophone_client._requests import Call
from lithophone_client._uploads import remaining_bytes

DEFAULT_BASE_URL = "http://127.0.0.1:8000"
DEFAULT_TIMEOUT_SECONDS = 600.0
USER_AGENT = "lithophone-client"
_CONNECT_TIMEOUT_SECONDS = 5.0
_NOTHING_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class SessionSettings(TypedDict):
    """Arguments that `httpx.Client` and `httpx.AsyncClient` have in common."""

    base_url: str
    headers: dict[str, str]
    timeout: httpx.Timeout


def server_address(base_url: str) -> str:
    """The address without the `/v1` that OpenAI's SDKs want at its end."""
    return base_url.rstrip("/").removesuffix("/v1")


def key_header(api_key: str | None) -> dict[str, str]:
    """The header that shows a key, if there is one."""
    return {} if api_key is None else {"Authorization": f"Bearer {api_key}"}


def session_settings(base_url: str, api_key: str | None, timeout_seconds: float) -> SessionSettings:
    """How to reach the server.

    The `/v1` that OpenAI's SDKs want at the end of the address may be there or not. `timeout_seconds` holds for each
    read and write; a connection has to stand sooner.
    """
    return SessionSettings(
        base_url=server_address(base_url),
        headers={"User-Agent": USER_AGENT} | key_header(api_key),
        timeout=httpx.Timeout(timeout_seconds, connect=min(timeout_seconds, _CONNECT_TIMEOUT_SECONDS)),
    )


@dataclass(frozen=True, slots=True)
class FormBody:
    """The body of one attempt.

    Attributes:
        headers: those of the body; without a length httpx sends it in chunks.
        head: the bytes before the file.
        reader: the file, open at the first byte to send.
        tail: the bytes after it.
        sent: told how many bytes of the file are sent.
    """

    headers: dict[str, str]
    head: bytes
    reader: BinaryIO
    tail: bytes
    sent: Callable[[int], None]


@contextmanager
def open_body(call: Call) -> Generator[FormBody | None, None, None]:
    """Open the file of a call for one attempt; None if it has none. May wait for a disk, or for the writer of a pipe."""
    if call.upload is None:
        yield None
        return
    form = multipart_form(
        call.fields, call.upload.name, boundary=secrets.token_hex(16)
    )  # nobody can guess it
    with call.upload.open() as reader:
        file_bytes = remaining_bytes(reader)
        yield FormBody(
            _form_headers(form, file_bytes),
            form.head,
            reader,
            form.tail,
            lambda sent_bytes: call.on_upload(sent_bytes, file_bytes) if call.on_upload else None,
        )


def _form_headers(form: MultipartForm, file_bytes: int | None) -> dict[str, str]:
    length = form.content_length(file_bytes)
    headers = {"Content-Type": form.content_type}
    return headers if length is None else headers | {"Content-Length": str(length)}


def transport_error(error: httpx.RequestError) -> TransportError:
    """This client's error for one of httpx's, which becomes its cause."""
    translated = _translated(error)
    translated.__cause__ = error
    return translated


def _translated(error: httpx.RequestError) -> TransportError:
    if isinstance(error, _NOTHING_SENT):
        return CannotConnectError(f"cannot connect: {error}")
    if isinstance(error, httpx.TimeoutException):
        return TimedOutError(f"no answer in time: {type(error).__name__}")
    return TransportError(f"the connection broke: {str(error) or type(error).__name__}")
