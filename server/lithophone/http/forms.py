"""The fields of a transcription or translation request, from the pairs of a form.

Owns names, types, ranges and descriptions: what the API knows, whether or not this server honours it (`support` says
that). `/schema` describes the forms from these structs, so a field is written down here and nowhere else. Pure.

A list arrives as `name[]`, `name[0]` or plain `name`, once or often, or as one JSON array; an object as JSON or as
`name[key]`. An empty value is an absent one. A name that is not in the struct is passed over, as OpenAI does, and can be
asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from enum import EnumMeta, StrEnum
from functools import cache
from typing import Annotated, Any, NamedTuple, TypeVar, get_args, get_origin

import msgspec
from msgspec import Meta

from lithophone.errors import InvalidRequestError
from lithophone.formats.names import UNDIARIZED, Granularity, ResponseFormat
from lithophone.http.quoting import cut, quote

LONGEST_PADDING_MS = 30_000
"""As long as the longest window: what is before a turn is held in memory."""

DEFAULT_THRESHOLD = 0.5
DEFAULT_PREFIX_PADDING_MS = 300
DEFAULT_SILENCE_DURATION_MS = 200
DEFAULT_TARGET = "en"

FILE_FIELD = "file"

_NAME = re.compile(r"(\w+)(?:\[(\w*)\])?")


class Include(StrEnum):
    """What is added to the answer."""

    LOGPROBS = "logprobs"


def _doc(text: str, **limits: Any) -> Meta:
    return Meta(description=text, **limits)


_PaddingMs = Annotated[int, Meta(ge=0, le=LONGEST_PADDING_MS)]


class AutoChunking(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="auto"):
    """Normalise the loudness and cut where it is quiet."""


class ServerVad(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type", tag="server_vad"
):
    """Cut by voice activity, with these parameters: each turn of speech is a window of its own."""

    threshold: Annotated[
        Annotated[float, Meta(ge=0, le=1)] | None,
        _doc(f"How sure the voice activity must be; {DEFAULT_THRESHOLD} if not sent"),
    ] = None
    prefix_padding_ms: Annotated[
        _PaddingMs | None, _doc(f"Audio kept before a turn; {DEFAULT_PREFIX_PADDING_MS} if not sent")
    ] = None
    silence_duration_ms: Annotated[
        _PaddingMs | None, _doc(f"Silence that ends a turn; {DEFAULT_SILENCE_DURATION_MS} if not sent")
    ] = None


_Model = Annotated[str, _doc("An id from `/v1/models`; OpenAI's names are aliases", min_length=1)]
_Prompt = Annotated[
    str,
    _doc(
        "Names and terms likely to be said: a list, or a text they are taken from. A model that takes no keywords cannot "
        "use it, and says so in the header `x-lithophone-warning`"
    ),
]
_Temperature = Annotated[float, _doc("0 is greedy, above it samples", ge=0, le=1)]
_AudioTrack = Annotated[
    Annotated[int, Meta(ge=1, le=999)] | None,
    _doc(
        "Which of several audio tracks, counted from 1; the default one if not sent, else the first that is no commentary; "
        "not in OpenAI's API"
    ),
]


class TranscriptionForm(msgspec.Struct, frozen=True, kw_only=True):
    """Everything `POST /v1/audio/transcriptions` knows, but for the file. `audio_track` is ours."""

    model: _Model
    language: Annotated[
        str, _doc("What is spoken: a code, a tag such as `en-US`, or a name; `auto` for any")
    ] = ""
    languages: Annotated[
        tuple[str, ...], _doc("As `language`; of several the one that the text is in is told")
    ] = ()
    prompt: _Prompt = ""
    keywords: Annotated[tuple[str, ...], _doc("Words likely to be said, for a model that takes them")] = ()
    response_format: Annotated[
        ResponseFormat, _doc("`diarized_json` needs a model that tells speakers apart")
    ] = ResponseFormat.JSON
    temperature: _Temperature = 0.0
    timestamp_granularities: Annotated[
        tuple[Granularity, ...],
        _doc(
            "With `verbose_json`; segments if not sent, without `segment` words alone. `word` also in a stream, where each "
            "delta then has its `words`"
        ),
    ] = ()
    include: Annotated[tuple[Include, ...], _doc("`logprobs` with `json`, whole or streamed")] = ()
    stream: Annotated[bool, _doc("Server-sent events; with `json`, `text` or `diarized_json`")] = False
    chunking_strategy: Annotated[
        AutoChunking | ServerVad | None,
        _doc("Where the recording is cut, as JSON, or a type alone; in pauses if not sent"),
    ] = None
    known_speaker_names: Annotated[tuple[str, ...], _doc("Not supported")] = ()
    known_speaker_references: Annotated[tuple[str, ...], _doc("Not supported")] = ()
    audio_track: _AudioTrack = None


class TranslationForm(msgspec.Struct, frozen=True, kw_only=True):
    """Everything `POST /v1/audio/translations` knows, but for the file.

    `to_language`, `audio_track`, `stream` and `timestamp_granularities` are ours; OpenAI's answer is English, and whole.
    """

    model: _Model
    prompt: _Prompt = ""
    response_format: Annotated[
        ResponseFormat, _doc("A translation has no speakers", extra_json_schema={"enum": list(UNDIARIZED)})
    ] = ResponseFormat.JSON
    temperature: _Temperature = 0.0
    to_language: Annotated[str, _doc("Code or name of the language to write; not in OpenAI's API")] = (
        DEFAULT_TARGET
    )
    audio_track: _AudioTrack = None
    stream: Annotated[
        bool, _doc("Server-sent events, as of a transcription; with `json` or `text`; not in OpenAI's API")
    ] = False
    timestamp_granularities: Annotated[
        tuple[Granularity, ...],
        _doc("`word`, in a stream: each delta then has its `words`; not in OpenAI's API"),
    ] = ()


Form = TypeVar("Form", TranscriptionForm, TranslationForm)


class FormField(NamedTuple):
    """A field as it is sent: its `type` with its limits; a list as `name[]`, an object as JSON or as `name[key]`."""

    type: Any
    is_list: bool
    is_object: bool


def parse_transcription_form(pairs: Iterable[tuple[str, str]]) -> TranscriptionForm:
    """The form that `pairs` of part name and text make; see `parse_form`."""
    return parse_form(TranscriptionForm, pairs)


def parse_form(kind: type[Form], pairs: Iterable[tuple[str, str]]) -> Form:
    """The form that `pairs` of part name and text make; those that `unknown_fields` tells are passed over.

    Raises:
        InvalidRequestError: a single value came twice, a value is missing or has no meaning; `param` is the name.
    """
    fields = fields_of(kind)
    raw = _gather(((name, value) for name, value in pairs if value), fields)
    if "model" not in raw:
        raise InvalidRequestError("The model is missing.", param="model")
    return kind(**{name: _convert(name, value, fields[name].type) for name, value in raw.items()})


def unknown_fields(
    kind: type[Form], pairs: Iterable[tuple[str, str]], files: Iterable[str] = ()
) -> tuple[str, ...]:
    """The names in `pairs` and `files` that a form of this kind does not know, as they were sent, each once."""
    fields = fields_of(kind)
    sent = dict.fromkeys((*(name for name, value in pairs if value), *files))
    return tuple(name for name in sent if _known(name, fields) is None)


def require_audio(kind: type[Form], files: Sequence[str], *, has_file: bool) -> None:
    """The audio came, and no field of the form as a file; files that no form knows may come beside it.

    Args:
        kind: What the form is read as.
        files: Names of the parts that are files, but for the audio.
        has_file: Whether the audio came.

    Raises:
        InvalidRequestError: else; `param` names the field.
    """
    fields = fields_of(kind)
    for name in files:
        if not has_file or _known(name, fields) is not None:
            raise InvalidRequestError(
                f"Unexpected file in {quote(name)}: the audio goes into `{FILE_FIELD}`.", param=name
            )
    if not has_file:
        raise InvalidRequestError(
            f"The audio is missing (curl: -F {FILE_FIELD}=@recording.wav).", param=FILE_FIELD
        )


@cache
def fields_of(kind: type[msgspec.Struct]) -> Mapping[str, FormField]:
    """The fields by name; msgspec compiles the annotations anew at every call."""
    return {field.name: _form_field(field.type) for field in msgspec.structs.fields(kind)}


def _form_field(annotation: Any) -> FormField:
    bare = _bare(annotation)
    members = (member for member in (bare, *get_args(bare)) if isinstance(member, type))
    return FormField(
        annotation,
        is_list=get_origin(bare) is tuple,
        is_object=any(issubclass(member, msgspec.Struct) for member in members),
    )


def _bare(annotation: Any) -> Any:
    """The type without its description and limits."""
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _gather(pairs: Iterable[tuple[str, str]], fields: Mapping[str, FormField]) -> dict[str, Any]:
    """Lists and objects put together; a single value stays a string."""
    raw: dict[str, Any] = {}
    for sent_name, value in pairs:
        _refuse_file(sent_name)
        known = _known(sent_name, fields)
        if known is None:
            continue
        name, key = known
        if fields[name].is_list:
            raw.setdefault(name, []).extend(_values(value))
        elif key is not None:
            _add_member(raw.setdefault(name, {}), key, value, sent_name)
        elif name in raw:
            raise InvalidRequestError(f"`{name}` was sent more than once.", param=name)
        else:
            raw[name] = _document(name, value) if fields[name].is_object else value
    return raw


def _refuse_file(sent_name: str) -> None:
    if sent_name == FILE_FIELD:
        raise InvalidRequestError(
            "`file` came as text. Send it with a file name (curl: -F file=@recording.wav).", param=FILE_FIELD
        )


def _known(sent_name: str, fields: Mapping[str, FormField]) -> tuple[str, str | None] | None:
    """The field's name, and the key in its brackets where it is an object; `None` for a field that is not known."""
    match = _NAME.fullmatch(sent_name)
    name, key = match.groups() if match else (sent_name, None)
    field = fields.get(name)
    return None if field is None or not _takes(field, key) else (name, key)


def _values(value: str) -> Sequence[str]:
    """What a field of a list holds: one value, or several as a JSON array, as JavaScript sends them."""
    if value.startswith("["):
        with suppress(msgspec.DecodeError):
            return [item for item in msgspec.json.decode(value, type=list[str]) if item]
    return [value]


def _takes(field: FormField, key: str | None) -> bool:
    """Whether a field may be sent with such a key: none, an empty one or a number for a list, a word for an object."""
    if key is None:
        return True
    return (field.is_list and (not key or key.isdecimal())) or (field.is_object and key != "")


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
    except (msgspec.DecodeError, RecursionError):
        raise InvalidRequestError(f"`{name}` is not valid JSON.", param=name) from None


def _convert(name: str, value: Any, annotation: Any) -> Any:
    try:
        return msgspec.convert(value, annotation, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidRequestError(
            f"`{name}` has no valid value. {_expectation(annotation, error)}", param=name
        ) from None


def _expectation(annotation: Any, error: msgspec.ValidationError) -> str:
    bare = _bare(annotation)
    choices = get_args(bare)[0] if get_origin(bare) is tuple else bare
    if isinstance(choices, EnumMeta):
        return f"Possible are: {', '.join(str(choice) for choice in choices)}."
    return f"{cut(str(error))}."
