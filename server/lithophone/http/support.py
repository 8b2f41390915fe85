"""What this server honours of the API today.

Owns the one list of what is refused and why. A feature that comes to be changes its row here. Pure.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from lithophone.engine.job import JobOptions
from lithophone.errors import InvalidRequestError, UnsupportedParameterError
from lithophone.granite.family import LANGUAGE_NAMES, ModelSpec
from lithophone.http.forms import (
    AutoChunking,
    Include,
    ResponseFormat,
    ServerVad,
    TranscriptionForm,
)

STREAMED = (ResponseFormat.JSON, ResponseFormat.TEXT)
"""The stream's events are the same for both."""

WRITTEN = (*STREAMED, ResponseFormat.SRT, ResponseFormat.VTT, ResponseFormat.VERBOSE_JSON)


class Wish(msgspec.Struct, frozen=True):
    """A form and the model it was sent to."""

    form: TranscriptionForm
    spec: ModelSpec


class Refusal(msgspec.Struct, frozen=True):
    """A rule: where `applies`, the answer is `message` and `param` the field at fault.

    `{model}` and `{languages}` in the message stand for the model's id and its languages.
    """

    param: str
    applies: Callable[[Wish], bool]
    message: str
    error: type[InvalidRequestError] = UnsupportedParameterError


REFUSALS: tuple[Refusal, ...] = (
    Refusal(
        "response_format",
        lambda wish: wish.form.response_format not in WRITTEN,
        f"This format is not supported. Supported: {', '.join(WRITTEN)}.",
    ),
    Refusal(
        "stream",
        lambda wish: wish.form.stream and wish.form.response_format not in STREAMED,
        f"This format is not streamed. Streamed are: {', '.join(STREAMED)}.",
    ),
    Refusal(
        "language",
        lambda wish: not _codes(wish.form.language) <= set(wish.spec.speech_languages),
        "{model} does not understand this language. Supported: {languages}.",
    ),
    Refusal(
        "languages",
        lambda wish: not _codes(*wish.form.languages) <= set(wish.spec.speech_languages),
        "{model} does not understand one of these languages. Supported: {languages}.",
    ),
    Refusal(
        "languages",
        lambda wish: len(_codes(wish.form.language, *wish.form.languages)) > 1,
        "Only one language can be named. Without any, it is told from the words.",
    ),
    Refusal(
        "prompt",
        lambda wish: bool(wish.form.prompt.strip()),
        "Prompts are not supported; leave the field out.",
    ),
    Refusal(
        "keywords",
        lambda wish: bool(wish.form.keywords),
        "Keywords are not supported; leave the field out.",
    ),
    Refusal(
        "timestamp_granularities",
        lambda wish: (
            bool(wish.form.timestamp_granularities)
            and wish.form.response_format is not ResponseFormat.VERBOSE_JSON
        ),
        "timestamp_granularities needs response_format verbose_json.",
        InvalidRequestError,
    ),
    Refusal(
        "include",
        lambda wish: (
            Include.LOGPROBS in wish.form.include and wish.form.response_format is not ResponseFormat.JSON
        ),
        "logprobs need response_format json.",
        InvalidRequestError,
    ),
    Refusal(
        "chunking_strategy",
        lambda wish: isinstance(wish.form.chunking_strategy, ServerVad),
        "server_vad is not supported. Supported: auto.",
    ),
    Refusal(
        "known_speaker_names",
        lambda wish: bool(wish.form.known_speaker_names),
        "Speakers are not told apart; leave the field out.",
    ),
    Refusal(
        "known_speaker_references",
        lambda wish: bool(wish.form.known_speaker_references),
        "Speakers are not told apart; leave the field out.",
    ),
)


def require_supported(form: TranscriptionForm, spec: ModelSpec) -> None:
    """Nothing of the form will be ignored.

    Raises:
        UnsupportedParameterError: a field asks for what this server or model cannot do.
        InvalidRequestError: two fields do not go together.
    """
    wish = Wish(form, spec)
    for refusal in REFUSALS:
        if refusal.applies(wish):
            languages = ", ".join(f"{code} ({LANGUAGE_NAMES[code]})" for code in spec.speech_languages)
            message = refusal.message.format(model=spec.id, languages=languages)
            raise refusal.error(message, param=refusal.param)


def job_options(form: TranscriptionForm) -> JobOptions:
    """What a supported form asks of the engine."""
    return JobOptions(
        language=next(iter(_codes(form.language, *form.languages)), None),
        temperature=form.temperature,
        normalise_loudness=isinstance(form.chunking_strategy, AutoChunking),
    )


def _codes(*hints: str) -> set[str]:
    return {hint.strip().lower() for hint in hints if hint.strip()}
