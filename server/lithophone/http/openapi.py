"""What `/schema` says beyond what Litestar sees in the handlers.

Owns the description of the multipart form, of the formats of the answer, and of the error shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from litestar import Response, Router
from litestar.exceptions import NotFoundException
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.openapi.spec import (
    Components,
    OpenAPIMediaType,
    OpenAPIResponse,
    Operation,
    RequestBody,
    Schema,
    SecurityScheme,
)
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType

from lithophone import __version__
from lithophone.formats.names import Granularity, ResponseFormat
from lithophone.formats.shapes import (
    DiarizedTranscription,
    Transcription,
    Translation,
    VerboseTranscription,
    VerboseTranslation,
)
from lithophone.http.forms import Include
from lithophone.http.wire import ErrorEnvelope

BEARER = "bearer"


def _error(description: str) -> ResponseSpec:
    return ResponseSpec(ErrorEnvelope, description=description, generate_examples=False)


UNAVAILABLE_RESPONSES = {
    500: _error("Something went wrong in the server"),
    503: _error("The model is loading, or the server is shutting down"),
}

ERROR_RESPONSES = {
    400: _error("The request cannot be understood or honoured; `param` names the field"),
    401: _error("No API key, or a wrong one"),
    404: _error("No such model"),
    413: _error("The upload is too large or too long"),
    415: _error("The file is not audio, or has none in it"),
    429: _error("The queue is full; see Retry-After"),
    **UNAVAILABLE_RESPONSES,
}

TRANSCRIPTION_RESPONSES = {
    200: ResponseSpec(
        Transcription | VerboseTranscription | DiarizedTranscription,
        description="The transcript in the `response_format` asked for",
        generate_examples=False,
    )
}

TRANSLATION_RESPONSES = {
    200: ResponseSpec(
        Translation | VerboseTranslation,
        description="The translation in the `response_format` asked for",
        generate_examples=False,
    )
}

_TEXT_FORMATS = {
    "text/plain": "`response_format=text`: the text and one newline",
    "application/x-subrip": "`response_format=srt`",
    "text/vtt": "`response_format=vtt`",
}

_STREAM_FORMATS = {
    "text/event-stream": (
        "`stream=true`: events `transcript.text.delta`, with `diarized_json` `transcript.text.segment`, and "
        "`transcript.text.done`, each one line of JSON, then `[DONE]`; after a failure, an `error` event with the error object instead"
    ),
}


def _text(description: str, choices: type[StrEnum] | None = None, default: str | None = None) -> Schema:
    return Schema(
        type=OpenAPIType.STRING,
        description=description,
        enum=None if choices is None else [choice.value for choice in choices],
        default=default,
    )


def _list(description: str, choices: type[StrEnum] | None = None) -> Schema:
    items = Schema(
        type=OpenAPIType.STRING, enum=None if choices is None else [choice.value for choice in choices]
    )
    return Schema(type=OpenAPIType.ARRAY, items=items, description=description)


_SERVER_VAD = Schema(
    type=OpenAPIType.OBJECT,
    properties={
        "type": Schema(type=OpenAPIType.STRING, const="server_vad"),
        "threshold": Schema(type=OpenAPIType.NUMBER, minimum=0, maximum=1),
        "prefix_padding_ms": Schema(type=OpenAPIType.INTEGER, minimum=0),
        "silence_duration_ms": Schema(type=OpenAPIType.INTEGER, minimum=0),
    },
    required=["type"],
)

_PROMPT = (
    "Names and terms likely to be said: a list, or a text they are taken from. A model that takes no keywords cannot use "
    "it, and says so in the header `x-lithophone-warning`"
)

FORM_FIELDS: Mapping[str, Schema] = MappingProxyType(
    {
        "file": Schema(
            type=OpenAPIType.STRING,
            format=OpenAPIFormat.BINARY,
            description="Audio, or video with sound; the format is told by the bytes",
        ),
        "model": _text("An id from `/v1/models`; OpenAI's names are aliases"),
        "language": _text("ISO-639-1 code of what is spoken"),
        "languages[]": _list("As `language`; one at most"),
        "prompt": _text(_PROMPT),
        "keywords[]": _list("Words likely to be said, for a model that takes them"),
        "response_format": _text(
            "`diarized_json` needs a model that tells speakers apart",
            ResponseFormat,
            ResponseFormat.JSON.value,
        ),
        "temperature": Schema(
            type=OpenAPIType.NUMBER,
            minimum=0,
            maximum=1,
            default=0,
            description="0 is greedy, above it samples",
        ),
        "timestamp_granularities[]": _list("With `verbose_json`", Granularity),
        "include[]": _list("`logprobs` with `json`, whole or streamed", Include),
        "stream": Schema(
            type=OpenAPIType.BOOLEAN,
            default=False,
            description="Server-sent events; with `json`, `text` or `diarized_json`",
        ),
        "chunking_strategy": Schema(
            one_of=[Schema(type=OpenAPIType.STRING, const="auto"), _SERVER_VAD],
            description="`auto` normalises the loudness first; `server_vad` makes each turn of speech a window of its own",
        ),
        "known_speaker_names[]": _list("Not supported"),
        "known_speaker_references[]": _list("Not supported"),
        "audio_track": Schema(
            type=OpenAPIType.INTEGER,
            minimum=1,
            description="Which of several audio tracks, counted from 1; without it the default one; not in OpenAI's API",
        ),
    }
)


TRANSLATION_FIELDS: Mapping[str, Schema] = MappingProxyType(
    {
        "file": FORM_FIELDS["file"],
        "model": FORM_FIELDS["model"],
        "prompt": FORM_FIELDS["prompt"],
        "response_format": Schema(
            type=OpenAPIType.STRING,
            enum=[written.value for written in ResponseFormat if written is not ResponseFormat.DIARIZED_JSON],
            default=ResponseFormat.JSON.value,
        ),
        "temperature": FORM_FIELDS["temperature"],
        "to_language": _text("ISO-639-1 code of the language to write; not in OpenAI's API", default="en"),
        "audio_track": FORM_FIELDS["audio_track"],
    }
)


def _describe(operation: Operation, fields: Mapping[str, Schema], formats: Mapping[str, str]) -> None:
    """Add the form, which the handler reads itself, and the formats beside JSON."""
    form = Schema(
        type=OpenAPIType.OBJECT,
        properties=dict(fields),
        required=["file", "model"],
        additional_properties=False,
    )
    operation.request_body = RequestBody(
        content={"multipart/form-data": OpenAPIMediaType(schema=form)}, required=True
    )
    success = (operation.responses or {}).get("200")
    if isinstance(success, OpenAPIResponse) and success.content is not None:
        for media_type, description in formats.items():
            success.content[media_type] = OpenAPIMediaType(schema=_text(description))


@dataclass
class TranscriptionOperation(Operation):
    """`POST /v1/audio/transcriptions`."""

    def __post_init__(self) -> None:
        _describe(self, FORM_FIELDS, {**_TEXT_FORMATS, **_STREAM_FORMATS})


@dataclass
class TranslationOperation(Operation):
    """`POST /v1/audio/translations`."""

    def __post_init__(self) -> None:
        _describe(self, TRANSLATION_FIELDS, _TEXT_FORMATS)


def _no_html_404(response: Response[Any]) -> Response[Any]:
    """Litestar answers unknown paths under `/schema` with a page of its own."""
    if response.status_code == NotFoundException.status_code:
        raise NotFoundException
    return response


def openapi_config() -> OpenAPIConfig:
    """`/schema` serves the description as JSON."""
    return OpenAPIConfig(
        title="Lithophone",
        version=__version__,
        description="OpenAI's audio API in front of IBM Granite Speech.",
        openapi_router=Router(
            "/schema", route_handlers=[], include_in_schema=False, after_request=_no_html_404
        ),
        render_plugins=[JsonRenderPlugin(path="/")],
        use_handler_docstrings=True,
        components=Components(
            security_schemes={BEARER: SecurityScheme(type="http", scheme="bearer", description="An API key")}
        ),
    )
