"""What an answer means: structs, texts, events or one of the errors.

All pure: status, headers and bytes go in. Both clients use it, so they cannot disagree.
"""

from __future__ import annotations

import email.utils
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TypeVar

import msgspec

from lithophone_client._errors import (
    ERRORS_BY_STATUS,
    APIError,
    ServerError,
    StreamFailedError,
    UnexpectedResponseError,
)
from lithophone_client._sse import ServerSentEvent, SSEParser
from lithophone_client._types import Done, Model, SpeakerSegment, StreamEvent, TextDelta

_T = TypeVar("_T")
_NEXT_WARNING = re.compile(r"(?<=\.) (?=[\w\[\]]+: )")
_END_OF_STREAM = "[DONE]"
_SHOWN_CHARACTERS = 200


class _ErrorDetail(msgspec.Struct, frozen=True):
    message: str
    type: str | None = None
    code: str | None = None
    param: str | None = None


class _ErrorBody(msgspec.Struct, frozen=True):
    error: _ErrorDetail


class _ModelList(msgspec.Struct, frozen=True):
    data: tuple[Model, ...]


class _AnyEvent(msgspec.Struct, frozen=True):
    """Enough of an event to tell which it is."""

    type: str | None = None
    error: object = None


_EVENTS: Mapping[str, type[StreamEvent]] = {
    "transcript.text.delta": TextDelta,
    "transcript.text.segment": SpeakerSegment,
    "transcript.text.done": Done,
}


def decode_json(body: bytes, expected: type[_T]) -> _T:
    """Decode one of the structs.

    Raises:
        UnexpectedResponseError: not JSON, or a required field is missing or of the wrong type.
    """
    try:
        return msgspec.json.decode(body, type=expected)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnexpectedResponseError(
            f"the answer is no {expected.__name__}: {error}; it begins {_beginning(body)!r}"
        ) from error


def decode_models(body: bytes) -> tuple[Model, ...]:
    """Decode the list of models; raises as `decode_json` does."""
    return decode_json(body, _ModelList).data


def decode_text(body: bytes) -> str:
    """Decode a text, SRT or WebVTT answer as it stands.

    Raises:
        UnexpectedResponseError: not UTF-8.
    """
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise UnexpectedResponseError(f"the answer is not UTF-8: {error}") from error


def warnings_of(headers: Mapping[str, str]) -> tuple[str, ...]:
    """The sentences of `x-lithophone-warning`, each of which begins with the name of what it is about and a colon."""
    told = headers.get("x-lithophone-warning", "")
    return tuple(_NEXT_WARNING.split(told)) if told else ()


def api_error(status: int, headers: Mapping[str, str], body: bytes) -> APIError:
    """The error a refusal stands for. A body in another shape (a proxy's page) becomes the message.

    Args:
        status: HTTP status code.
        headers: with case-insensitive names, as httpx has them.
        body: the whole body.
    """
    detail = _error_detail(body) or _ErrorDetail(_reason(status, body))
    family = ServerError if status >= HTTPStatus.INTERNAL_SERVER_ERROR else APIError
    return ERRORS_BY_STATUS.get(status, family)(
        detail.message,
        status=status,
        type=detail.type,
        code=detail.code,
        param=detail.param,
        request_id=headers.get("x-request-id"),
        retry_after_seconds=retry_after_seconds(headers.get("retry-after"), datetime.now(UTC)),
    )


def retry_after_seconds(header: str | None, now: datetime) -> float | None:
    """Read `Retry-After` (RFC 9110, 10.2.3): seconds, or a date. None if it is absent or neither."""
    if header is None:
        return None
    if header.strip().isdecimal():
        return float(header)
    try:
        date = email.utils.parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds())


class EventDecoder:
    """Turns the bytes of one transcription stream into typed events.

    Events of a type this version does not know are left out.
    """

    def __init__(self, request_id: str | None = None) -> None:
        self._parser = SSEParser()
        self._request_id = request_id
        self._has_text = False
        self.finished = False

    def feed(self, chunk: bytes) -> Iterator[StreamEvent]:
        """Take the next bytes and yield the events they complete.

        Raises:
            StreamFailedError: the server broke the stream off with an error.
            UnexpectedResponseError: an event is not what the API promises.
        """
        for event in self._parser.feed(chunk):
            if self.finished:
                return
            if event.data == _END_OF_STREAM:
                self.finished = True
            elif (decoded := self._decode(event)) is not None:
                self._has_text = self._has_text or isinstance(decoded, Done)
                yield decoded

    def close(self) -> None:
        """Say that there are no more bytes.

        Raises:
            UnexpectedResponseError: the whole text never came.
        """
        if not self._has_text:
            raise UnexpectedResponseError("the stream ended before its `transcript.text.done` event")

    def _decode(self, event: ServerSentEvent) -> StreamEvent | None:
        body = event.data.encode()
        head = decode_json(body, _AnyEvent)
        if head.error is not None or event.event == "error" or head.type == "error":
            raise self._failure(body)
        expected = _EVENTS.get(head.type or "")
        return None if expected is None else decode_json(body, expected)

    def _failure(self, body: bytes) -> StreamFailedError:
        detail = _error_detail(body) or _ErrorDetail(_beginning(body))
        return StreamFailedError(
            detail.message,
            status=HTTPStatus.OK,
            type=detail.type,
            code=detail.code,
            param=detail.param,
            request_id=self._request_id,
        )


def _error_detail(body: bytes) -> _ErrorDetail | None:
    try:
        return msgspec.json.decode(body, type=_ErrorBody).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _reason(status: int, body: bytes) -> str:
    phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else "no reason given"
    return f"{phrase}: {_beginning(body)}" if body.strip() else phrase


def _beginning(body: bytes) -> str:
    return body.decode(errors="replace").strip()[:_SHOWN_CHARACTERS]
