"""What `/schema` says beyond what Litestar sees in the handlers.

Owns the description of the formats of the answer and of the error shape; the forms describe themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
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
from litestar.openapi.spec.enums import OpenAPIType

from lithophone import __version__
from lithophone.formats.shapes import (
    DiarizedTranscription,
    Transcription,
    Translation,
    VerboseTranscription,
    VerboseTranslation,
)
from lithophone.http.form_schema import form_schema
from lithophone.http.forms import TranscriptionForm, TranslationForm
from lithophone.http.wire import ErrorEnvelope

BEARER = "bearer"


def _error(description: str) -> ResponseSpec:
    return ResponseSpec(ErrorEnvelope, description=description, generate_examples=False)


UNAVAILABLE_RESPONSES = {
    500: _error("Something went wrong in the server"),
    503: _error("The model is loading, or the server is shutting down"),
}

ERROR_RESPONSES = {
    400: _error(
        "The request cannot be understood or honoured, or the file is not audio; `param` names the field"
    ),
    401: _error("No API key, or a wrong one"),
    403: _error("Without keys: a web page from elsewhere, or a host that is not this server's"),
    404: _error("No such model"),
    413: _error("The upload is too large or too long"),
    429: _error("The queue is full; see Retry-After"),
    **UNAVAILABLE_RESPONSES,
}

METRICS_RESPONSES = {
    401: _error("No API key, or a wrong one"),
    500: _error("Something went wrong in the server"),
}

IN_USE_RESPONSES = {409: _error("The model is at work")}

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

_EVENTS = (
    "`stream=true`: events `transcript.text.delta`, with `diarized_json` `transcript.text.segment`, and "
    "`transcript.text.done`, each with its name and one line of JSON, then `[DONE]`; after a failure, an `error` event with the error object instead"
)


@dataclass(kw_only=True)
class _FormSchema(Schema):
    """The schema of a form, which is JSON already."""

    form: type[msgspec.Struct]

    def to_schema(self) -> dict[str, Any]:
        """What Litestar writes into the document."""
        return form_schema(self.form)


def _describe(operation: Operation, form: type[msgspec.Struct]) -> None:
    """Add the form, which the handler reads itself, and the formats beside JSON, which is of the kind that was asked for."""
    operation.request_body = RequestBody(
        content={"multipart/form-data": OpenAPIMediaType(schema=_FormSchema(form=form))}, required=True
    )
    success = (operation.responses or {}).get("200")
    if isinstance(success, OpenAPIResponse) and success.content is not None:
        for described in success.content.values():
            _allow_several(described)
        for media_type, description in _TEXT_FORMATS.items():
            success.content[media_type] = OpenAPIMediaType(
                schema=Schema(type=OpenAPIType.STRING, description=description)
            )
        success.content["text/event-stream"] = OpenAPIMediaType(schema=Schema(description=_EVENTS))


def _allow_several(described: OpenAPIMediaType) -> None:
    """A longer document fits the description of a shorter one, too."""
    if isinstance(described.schema, Schema) and described.schema.one_of:
        described.schema.any_of, described.schema.one_of = described.schema.one_of, None


@dataclass
class TranscriptionOperation(Operation):
    """`POST /v1/audio/transcriptions`."""

    def __post_init__(self) -> None:
        _describe(self, TranscriptionForm)


@dataclass
class TranslationOperation(Operation):
    """`POST /v1/audio/translations`."""

    def __post_init__(self) -> None:
        _describe(self, TranslationForm)


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
