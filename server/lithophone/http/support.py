"""What this server honours of the API today.

Owns the one list of what is refused and why. A feature that comes to be changes its row here. Pure.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from lithophone.audio.voice import TurnOptions
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

DEFAULT_THRESHOLD = 0.5
DEFAULT_PREFIX_PADDING_MS = 300
DEFAULT_SILENCE_DURATION_MS = 200

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
        lambda wish: bool(wish.form.keywords) and not wish.spec.keywords,
        "{model} takes no keywords; leave the field out.",
    ),
    Refusal(
        "keywords",
        lambda wish: not all(_is_plain(keyword) for keyword in wish.form.keywords),
        "A keyword is printable text without `<|`.",
        InvalidRequestError,
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
        keywords=tuple(keyword.strip() for keyword in form.keywords),
        temperature=form.temperature,
        normalise_loudness=isinstance(form.chunking_strategy, AutoChunking),
        turns=_turns(form.chunking_strategy) if isinstance(form.chunking_strategy, ServerVad) else None,
    )


def _turns(vad: ServerVad) -> TurnOptions:
    """What is not sent is as OpenAI has it."""
    return TurnOptions(
        threshold=DEFAULT_THRESHOLD if vad.threshold is None else vad.threshold,
        prefix_padding_seconds=_or_default(vad.prefix_padding_ms, DEFAULT_PREFIX_PADDING_MS) / 1000,
        silence_seconds=_or_default(vad.silence_duration_ms, DEFAULT_SILENCE_DURATION_MS) / 1000,
    )


def _or_default(value: int | None, default: int) -> int:
    return default if value is None else value


def _is_plain(keyword: str) -> bool:
    """Whether a keyword can stand in a prompt without passing for a control token or a new line."""
    return keyword.strip() != "" and keyword.isprintable() and "<|" not in keyword


def _codes(*hints: str) -> set[str]:
    return {hint.strip().lower() for hint in hints if hint.strip()}
