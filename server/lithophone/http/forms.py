"""The fields of a transcription or translation request, from the pairs of a form.

Owns names, types and ranges: what the API knows, whether or not this server honours it (`support` says that). Pure.

A list arrives as `name[]`, `name[0]` or plain `name`, once or often; an object as JSON or as `name[key]`. An empty
value is an absent one. A name that is not in the struct is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import EnumMeta, StrEnum
from functools import cache
from typing import Annotated, Any, TypeVar, get_args, get_origin

import msgspec

from lithophone.errors import InvalidRequestError
from lithophone.formats.names import Granularity, ResponseFormat
from lithophone.http.quoting import quote

LONGEST_PADDING_MS = 30_000
"""As long as the longest window: what is before a turn is held in memory."""

AudioTrack = Annotated[int, msgspec.Meta(ge=1, le=999)]
"""Counts the audio tracks of a file from 1."""

_NAME = re.compile(r"(\w+)(?:\[(\w*)\])?")


class Include(StrEnum):
    """What is added to the answer."""

    LOGPROBS = "logprobs"


class AutoChunking(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="auto"):
    """Normalise the loudness and cut where it is quiet."""


class ServerVad(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="server_vad"
):
    """Cut by voice activity, with these parameters."""

    threshold: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    prefix_padding_ms: Annotated[int, msgspec.Meta(ge=0, le=LONGEST_PADDING_MS)] | None = None
    silence_duration_ms: Annotated[int, msgspec.Meta(ge=0, le=LONGEST_PADDING_MS)] | None = None


class TranscriptionForm(msgspec.Struct, frozen=True, kw_only=True):
    """Everything `POST /v1/audio/transcriptions` knows, but for the file. `audio_track` is ours."""

    model: str
    language: str = ""
    languages: tuple[str, ...] = ()
    prompt: str = ""
    keywords: tuple[str, ...] = ()
    response_format: ResponseFormat = ResponseFormat.JSON
    temperature: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    timestamp_granularities: tuple[Granularity, ...] = ()
    include: tuple[Include, ...] = ()
    stream: bool = False
    chunking_strategy: AutoChunking | ServerVad | None = None
    known_speaker_names: tuple[str, ...] = ()
    known_speaker_references: tuple[str, ...] = ()
    audio_track: AudioTrack | None = None


class TranslationForm(msgspec.Struct, frozen=True, kw_only=True):
    """Everything `POST /v1/audio/translations` knows, but for the file. `to_language` and `audio_track` are ours."""

    model: str
    prompt: str = ""
    response_format: ResponseFormat = ResponseFormat.JSON
    temperature: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    to_language: str = "en"
    audio_track: AudioTrack | None = None


Form = TypeVar("Form", TranscriptionForm, TranslationForm)
_OBJECTS = frozenset({"chunking_strategy"})


def parse_transcription_form(pairs: Iterable[tuple[str, str]]) -> TranscriptionForm:
    """The form that `pairs` of part name and text make; see `parse_form`."""
    return parse_form(TranscriptionForm, pairs)


def parse_form(kind: type[Form], pairs: Iterable[tuple[str, str]]) -> Form:
    """The form that `pairs` of part name and text make.

    Raises:
        InvalidRequestError: a name is unknown, a single value came twice, a value is missing or has no meaning;
            `param` is the name.
    """
    fields = _fields_of(kind)
    raw = _gather(((name, value) for name, value in pairs if value), fields)
    if "model" not in raw:
        raise InvalidRequestError("The model is missing.", param="model")
    return kind(**{name: _convert(name, value, fields[name]) for name, value in raw.items()})


@cache
def _fields_of(kind: type[msgspec.Struct]) -> Mapping[str, Any]:
    """Name and type of each field; msgspec compiles the annotations anew at every call."""
    return {field.name: field.type for field in msgspec.structs.fields(kind)}


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is tuple


def _gather(pairs: Iterable[tuple[str, str]], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Lists and objects put together; a single value stays a string."""
    raw: dict[str, Any] = {}
    for sent_name, value in pairs:
        name, key = _split(sent_name, fields)
        if _is_list(fields[name]):
            raw.setdefault(name, []).append(value)
        elif key is not None:
            _add_member(raw.setdefault(name, {}), key, value, sent_name)
        elif name in raw:
            raise InvalidRequestError(f"`{name}` was sent more than once.", param=name)
        else:
            raw[name] = _document(name, value) if name in _OBJECTS else value
    return raw


def _split(sent_name: str, fields: Mapping[str, Any]) -> tuple[str, str | None]:
    """`name` and the key in its brackets, where the field is an object; `None` where there is none."""
    match = _NAME.fullmatch(sent_name)
    name, key = match.groups() if match else (sent_name, None)
    if name == "file":
        raise InvalidRequestError(
            "`file` came as text. Send it with a file name (curl: -F file=@recording.wav).", param="file"
        )
    in_list = _is_list(fields.get(name)) and (not key or key.isdecimal())
    if name not in fields or not (key is None or in_list or (name in _OBJECTS and key)):
        raise InvalidRequestError(
            f"Unknown field {quote(sent_name)}. Known are: file, {', '.join(fields)}.", param=sent_name
        )
    return name, key


def _add_member(document: Any, key: str, value: str, sent_name: str) -> None:
    if not isinstance(document, dict) or key in document:
        raise InvalidRequestError(f"{quote(sent_name)} was sent more than once.", param=sent_name)
    document[key] = value


def _document(name: str, value: str) -> Any:
    """An object in JSON, or the bare word that stands for its type."""
    if not value.lstrip().startswith("{"):
        return {"type": value}
    try:
        return msgspec.json.decode(value)
    except msgspec.DecodeError:
        raise InvalidRequestError(f"`{name}` is not valid JSON.", param=name) from None


def _convert(name: str, value: Any, annotation: Any) -> Any:
    try:
        return msgspec.convert(value, annotation, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidRequestError(
            f"`{name}` has no valid value. {_expectation(annotation, error)}", param=name
        ) from None


def _expectation(annotation: Any, error: msgspec.ValidationError) -> str:
    choices = get_args(annotation)[0] if _is_list(annotation) else annotation
    if isinstance(choices, EnumMeta):
        return f"Possible are: {', '.join(str(choice) for choice in choices)}."
    return f"{error}."
