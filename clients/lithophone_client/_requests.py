"""What each method of the client asks for, before any I/O: path, form fields, file.

The keyword arguments of the methods are declared here once, for the sync and the async client. None means "not sent":
the server's default may depend on the model, so this client has none of its own.
This module knows neither sockets nor answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypedDict, cast
from urllib.parse import quote

import msgspec

from lithophone_client._types import ServerVad
from lithophone_client._uploads import AudioFile, Upload, upload_of

DEFAULT_MODEL = "whisper-1"
"""An alias every Lithophone server answers to with the model it has."""

TRANSCRIPTIONS_PATH = "/v1/audio/transcriptions"
TRANSLATIONS_PATH = "/v1/audio/translations"
MODELS_PATH = "/v1/models"
HEALTH_PATH = "/health"
READY_PATH = "/ready"

OnUpload = Callable[[int, int | None], None]
"""Takes the bytes of the file that are sent, and how many it has."""

_ON_UPLOAD = "on_upload"

ResponseFormat = Literal["json", "text", "srt", "vtt", "verbose_json", "diarized_json"]
SubtitleFormat = Literal["srt", "vtt"]


class RecordingOptions(TypedDict, total=False):
    """Keyword arguments of every method that takes a file.

    Attributes:
        model: an id from `models()`, or an alias; `whisper-1` unless told.
        prompt: names and terms likely to be said: a list, or a text they are taken from.
        temperature: 0 to 1; 0 is greedy.
        audio_track: which of a file's audio tracks to hear, counted from 1. Lithophone alone knows it.
        on_upload: told how many bytes of the file are sent, and of how many, which is None for a pipe. Every attempt begins at 0.
    """

    model: str
    prompt: str | None
    temperature: float | None
    audio_track: int | None
    on_upload: OnUpload | None


class TranslationOptions(RecordingOptions, total=False):
    """Keyword arguments of `translate`.

    Attributes:
        to_language: the language to write, as an ISO-639-1 code; English unless told. Lithophone alone knows it.
    """

    to_language: str | None


class TranscriptionOptions(RecordingOptions, total=False):
    """Keyword arguments of every method that transcribes.

    Attributes:
        language: the language spoken, as an ISO-639-1 code.
        languages: the languages that may be spoken.
        keywords: words to listen for.
        chunking_strategy: `"auto"`, or a `ServerVad`, to cut the audio where nobody speaks.
    """

    language: str | None
    languages: Sequence[str] | None
    keywords: Sequence[str] | None
    chunking_strategy: Literal["auto"] | ServerVad | None


class JsonOptions(TranscriptionOptions, total=False):
    """Keyword arguments of `transcribe` and `stream`.

    Attributes:
        include: `["logprobs"]` for the probability of each token.
    """

    include: Sequence[Literal["logprobs"]] | None


class VerboseOptions(TranscriptionOptions, total=False):
    """Keyword arguments of `transcribe_verbose`.

    Attributes:
        timestamp_granularities: which times to tell, of words, of segments or both.
    """

    timestamp_granularities: Sequence[Literal["word", "segment"]] | None


class DiarizationOptions(TranscriptionOptions, total=False):
    """Keyword arguments of `transcribe_diarized`.

    Attributes:
        known_speaker_names: names for the speakers of `known_speaker_references`, in the same order.
        known_speaker_references: their voices, as `data:` URLs of audio.
    """

    known_speaker_names: Sequence[str] | None
    known_speaker_references: Sequence[str] | None


@dataclass(frozen=True, slots=True)
class Call:
    """One request. With an upload it is a POST of a form, else a GET."""

    path: str
    fields: tuple[tuple[str, str], ...] = ()
    upload: Upload | None = None
    on_upload: OnUpload | None = None

    @property
    def method(self) -> str:
        """The HTTP method."""
        return "GET" if self.upload is None else "POST"

    @property
    def can_be_resent(self) -> bool:
        """Whether a second attempt would send the same bytes."""
        return self.upload is None or self.upload.can_be_resent


def transcription_call(
    file: AudioFile,
    options: Mapping[str, object],
    allowed: type,
    response_format: ResponseFormat,
    *,
    stream: bool | None = None,
) -> Call:
    """A transcription of `file`; `allowed` is the TypedDict of the method's options.

    Raises:
        TypeError: an option the method does not take, or a value of the wrong kind.
    """
    return _audio_call(
        TRANSCRIPTIONS_PATH, file, options, allowed, response_format=response_format, stream=stream
    )


def translation_call(
    file: AudioFile, options: Mapping[str, object], response_format: ResponseFormat = "json"
) -> Call:
    """A translation of `file`; raises as `transcription_call` does."""
    return _audio_call(TRANSLATIONS_PATH, file, options, TranslationOptions, response_format=response_format)


def model_call(model_id: str) -> Call:
    """One model; ids such as `ibm-granite/granite-speech-4.1-2b` hold slashes."""
    return Call(f"{MODELS_PATH}/{quote(model_id, safe='')}")


def form_fields(values: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    """Form fields in the order given; None is left out, a sequence becomes `name[]`, once for each item.

    Raises:
        TypeError: a value has no form on the wire.
    """
    fields: list[tuple[str, str]] = []
    for name, value in values.items():
        if value is None:
            continue
        if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
            items = cast("Sequence[object]", value)
            fields += [(f"{name}[]", _field_text(name, item)) for item in items]
        else:
            fields.append((name, _field_text(name, value)))
    return tuple(fields)


_LIST_OPTIONS = frozenset(
    {
        "include",
        "keywords",
        "known_speaker_names",
        "known_speaker_references",
        "languages",
        "timestamp_granularities",
    }
)


def _audio_call(
    path: str,
    file: AudioFile,
    options: Mapping[str, object],
    allowed: type,
    *,
    response_format: ResponseFormat,
    stream: bool | None = None,
) -> Call:
    _check_options(options, allowed)
    asked = {name: value for name, value in options.items() if name != _ON_UPLOAD}
    values = {"model": DEFAULT_MODEL, "response_format": response_format, "stream": stream, **asked}
    on_upload = cast("OnUpload | None", options.get(_ON_UPLOAD))
    return Call(path, form_fields(values), upload_of(file), on_upload)


def _check_options(options: Mapping[str, object], allowed: type) -> None:
    names = allowed.__annotations__.keys()
    if unknown := sorted(options.keys() - names):
        raise TypeError(f"unexpected keyword argument {unknown[0]!r}; this method takes {', '.join(names)}")
    for name in sorted(_LIST_OPTIONS & options.keys()):
        if isinstance(options[name], str):
            raise TypeError(f"{name} must be a list of strings, not one string")


def _field_text(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    if isinstance(value, ServerVad):
        return msgspec.json.encode(value).decode()
    raise TypeError(f"{name} cannot be {type(value).__name__}")
