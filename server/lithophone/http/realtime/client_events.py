"""What a client sends, from the text of a frame. Pure.

Owns the events a transcription session takes. One that OpenAI knows and such a session has no use for is refused by its
name; the session goes on.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

import msgspec

from lithophone.errors import InvalidRequestError
from lithophone.http.quoting import quote

LARGEST_AUDIO_BYTES: Final = 15 << 20
"""Of an `append`, as at OpenAI."""

LARGEST_FRAME_BYTES: Final = LARGEST_AUDIO_BYTES // 3 * 4 + (1 << 20)
"""The same in base64, with room for what is around it. A larger frame ends the session, with code 1009."""

NOT_JSON: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What reading a frame ends in that holds no JSON, or JSON nested by more levels than Python follows."""


class SessionUpdate(msgspec.Struct, frozen=True):
    """`session.update`, or the beta's `transcription_session.update`."""

    session: dict[str, Any]
    beta: bool


class Append(msgspec.Struct, frozen=True):
    """More audio, in the session's format."""

    audio: bytes


class Commit(msgspec.Struct, frozen=True):
    """The audio is whole."""


class Clear(msgspec.Struct, frozen=True):
    """The audio is not wanted."""


ClientEvent = SessionUpdate | Append | Commit | Clear


class _Frame(msgspec.Struct, frozen=True):
    """The fields of any event; those of the wrong type are told of with their name."""

    type: str = ""
    audio: str | None = None
    session: dict[str, Any] | None = None


class _Named(msgspec.Struct, frozen=True):
    event_id: str | None = None


def event_id_of(frame: str | bytes) -> str | None:
    """The client's own name of an event, if it has one."""
    try:
        return msgspec.json.decode(frame, type=_Named).event_id
    except NOT_JSON:
        return None


def parse(frame: str | bytes) -> ClientEvent:
    """The event of a frame.

    Raises:
        InvalidRequestError: it is none, or none that a transcription session takes.
    """
    try:
        fields = msgspec.json.decode(frame, type=_Frame)
    except msgspec.ValidationError as error:
        raise InvalidRequestError(f"The event has no valid form: {error}.") from None
    except NOT_JSON:
        raise InvalidRequestError("An event is one JSON object, not nested too deep.") from None
    match fields.type:
        case "input_audio_buffer.append":
            return Append(_audio(fields.audio))
        case "input_audio_buffer.commit":
            return Commit()
        case "input_audio_buffer.clear":
            return Clear()
        case "session.update" | "transcription_session.update":
            return SessionUpdate(_session(fields), fields.type != "session.update")
        case _:
            raise InvalidRequestError(
                f"A transcription session has no event {quote(fields.type)}. It takes session.update and "
                "input_audio_buffer.append, .commit and .clear.",
                param="type",
            )


def _session(fields: _Frame) -> dict[str, Any]:
    if fields.session is None:
        raise InvalidRequestError("The event has no `session`.", param="session")
    return fields.session


def _audio(text: str | None) -> bytes:
    if text is None:
        raise InvalidRequestError("The event has no `audio`.", param="audio")
    try:
        audio = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequestError("`audio` is not base64.", param="audio") from None
    if len(audio) > LARGEST_AUDIO_BYTES:
        raise InvalidRequestError(
            f"`audio` is longer than the {LARGEST_AUDIO_BYTES} bytes allowed in an event.", param="audio"
        )
    return audio
