"""What this server honours of the API today.

Owns the one list of what is refused and why. A feature that comes to be changes its row here. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

import msgspec

from lithophone.audio.voice import TurnOptions
from lithophone.engine.options import JobOptions
from lithophone.errors import InvalidRequestError, UnsupportedParameterError
from lithophone.formats.names import UNDIARIZED, Granularity, ResponseFormat
from lithophone.formats.rendering import RenderOptions
from lithophone.granite.family import FAMILY, LANGUAGE_NAMES, ModelSpec
from lithophone.granite.prompts import hears_language_hint
from lithophone.granite.vocabulary import terms_of
from lithophone.http.forms import (
    DEFAULT_PREFIX_PADDING_MS,
    DEFAULT_SILENCE_DURATION_MS,
    DEFAULT_THRESHOLD,
    AutoChunking,
    Include,
    ServerVad,
    TranscriptionForm,
    TranslationForm,
)

STREAMED = (ResponseFormat.JSON, ResponseFormat.TEXT, ResponseFormat.DIARIZED_JSON)
"""The stream's events are the same for the first two."""

_TRANSLATIONS_STREAMED = tuple(written for written in STREAMED if written in UNDIARIZED)

TIMED = (ResponseFormat.SRT, ResponseFormat.VTT, ResponseFormat.VERBOSE_JSON)
"""Formats that show when something was said."""

AnyForm = TypeVar("AnyForm", TranscriptionForm, TranslationForm)


class Wish(msgspec.Struct, Generic[AnyForm], frozen=True):
    """A form and the model it was sent to."""

    form: AnyForm
    spec: ModelSpec


class Refusal(msgspec.Struct, Generic[AnyForm], frozen=True):
    """A rule: where `applies`, the answer is `message` and `param` the field at fault.

    `{model}`, `{languages}` and `{targets}` in the message stand for the model's id, the languages it understands and
    those it translates into.
    """

    param: str
    applies: Callable[[Wish[AnyForm]], bool]
    message: str
    error: type[InvalidRequestError] = UnsupportedParameterError


def _able(can: Callable[[ModelSpec], object]) -> str:
    """The models that can, for a person to choose from."""
    return ", ".join(spec.id for spec in FAMILY.values() if can(spec))


REFUSALS: tuple[Refusal[TranscriptionForm], ...] = (
    Refusal(
        "response_format",
        lambda wish: wish.form.response_format is ResponseFormat.DIARIZED_JSON and not wish.spec.speakers,
        "{model} does not tell speakers apart; " + _able(lambda spec: spec.speakers) + " does. "
        f"Supported: {', '.join(UNDIARIZED)}.",
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
        "keywords",
        lambda wish: bool(wish.form.keywords) and not wish.spec.keywords,
        "{model} takes no keywords; leave the field out. These do: "
        + _able(lambda spec: spec.keywords)
        + ".",
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
            and not _streams_words(wish.form)
        ),
        "timestamp_granularities needs response_format verbose_json, or, for words, stream.",
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
        "Speakers cannot be named: they are A, B, … in the order they first speak. Leave the field out.",
    ),
    Refusal(
        "known_speaker_references",
        lambda wish: bool(wish.form.known_speaker_references),
        "Speakers cannot be named: they are A, B, … in the order they first speak. Leave the field out.",
    ),
)


def _streams_words(form: TranscriptionForm | TranslationForm) -> bool:
    """Whether words come with the deltas of a stream, and nothing else is to be timed."""
    return form.stream and set(form.timestamp_granularities) == {Granularity.WORD}


TRANSLATION_REFUSALS: tuple[Refusal[TranslationForm], ...] = (
    Refusal(
        "model",
        lambda wish: not wish.spec.translations,
        "{model} does not translate. These do: " + _able(lambda spec: spec.translations) + ".",
    ),
    Refusal(
        "response_format",
        lambda wish: wish.form.response_format not in UNDIARIZED,
        f"A translation has no speakers. Supported: {', '.join(UNDIARIZED)}.",
    ),
    Refusal(
        "stream",
        lambda wish: wish.form.stream and wish.form.response_format not in STREAMED,
        f"This format is not streamed. Streamed are: {', '.join(_TRANSLATIONS_STREAMED)}.",
    ),
    Refusal(
        "timestamp_granularities",
        lambda wish: bool(wish.form.timestamp_granularities) and not _streams_words(wish.form),
        "timestamp_granularities needs stream, and is for words.",
        InvalidRequestError,
    ),
    Refusal(
        "to_language",
        lambda wish: not _codes(wish.form.to_language) <= set(wish.spec.translation_targets),
        "{model} does not translate into this language. Supported: {targets}.",
    ),
)


def require_supported(form: TranscriptionForm, spec: ModelSpec) -> None:
    """Nothing of the form will be ignored.

    Raises:
        UnsupportedParameterError: a field asks for what this server or model cannot do.
        InvalidRequestError: two fields do not go together.
    """
    _refuse(REFUSALS, Wish(form, spec))


def require_translatable(form: TranslationForm, spec: ModelSpec) -> None:
    """The model can do what the form asks for.

    Raises:
        UnsupportedParameterError: it cannot; the message says what it can.
    """
    _refuse(TRANSLATION_REFUSALS, Wish(form, spec))


def _refuse(refusals: Iterable[Refusal[AnyForm]], wish: Wish[AnyForm]) -> None:
    for refusal in refusals:
        if refusal.applies(wish):
            message = refusal.message.format(
                model=wish.spec.id,
                languages=_listed(wish.spec.speech_languages),
                targets=_listed(wish.spec.translation_targets),
            )
            raise refusal.error(message, param=refusal.param)


def _listed(codes: Iterable[str]) -> str:
    return ", ".join(f"{code} ({LANGUAGE_NAMES[code]})" for code in codes)


def job_options(form: TranscriptionForm, spec: ModelSpec, *, native_word_times: bool = False) -> JobOptions:
    """What a supported form asks of the engine. Words are timed by the model itself only where times are shown."""
    return JobOptions(
        language=next(iter(_codes(form.language, *form.languages)), None),
        keywords=_keywords(form, spec),
        temperature=form.temperature,
        normalise_loudness=isinstance(form.chunking_strategy, AutoChunking),
        turns=_turns(form.chunking_strategy) if isinstance(form.chunking_strategy, ServerVad) else None,
        speakers=form.response_format is ResponseFormat.DIARIZED_JSON,
        native_times=native_word_times and spec.word_times and _shows_times(form),
    )


def _shows_times(form: TranscriptionForm) -> bool:
    """Whether the model's own word times are of use. It cannot tell speakers and times at once."""
    return form.response_format in TIMED or (
        _streams_words(form) and form.response_format is not ResponseFormat.DIARIZED_JSON
    )


def render_options(form: TranscriptionForm) -> RenderOptions:
    """How the answer to a supported form is written."""
    return RenderOptions(
        response_format=form.response_format,
        words=Granularity.WORD in form.timestamp_granularities,
        logprobs=Include.LOGPROBS in form.include,
    )


def translation_options(form: TranslationForm, spec: ModelSpec) -> JobOptions:
    """What a supported translation form asks of the engine."""
    return JobOptions(
        translate_to=form.to_language.strip().lower(),
        keywords=_prompt_terms(form, spec),
        temperature=form.temperature,
    )


def warnings_for(form: TranscriptionForm | TranslationForm, spec: ModelSpec) -> tuple[str, ...]:
    """What a supported form asks for in vain, in plain ASCII. Many clients always send a prompt or a language."""
    warnings: list[str] = []
    if form.prompt.strip() and not spec.keywords:
        warnings.append(f"prompt: not used, {spec.id} takes no hints.")
    elif form.prompt.strip() and not _prompt_terms(form, spec):
        warnings.append("prompt: not used, it has no names or terms; those alone can be hinted at.")
    if isinstance(form, TranscriptionForm) and (form.language.strip() or form.languages):
        task = job_options(form, spec).task
        if len(spec.speech_languages) > 1 and not hears_language_hint(spec, task):
            warnings.append(f"language: {spec.id} hears it by itself; the hint only labels the answer.")
    return tuple(warnings)


def _keywords(form: TranscriptionForm, spec: ModelSpec) -> tuple[str, ...]:
    asked = tuple(keyword.strip() for keyword in form.keywords)
    return tuple(dict.fromkeys((*asked, *_prompt_terms(form, spec))))


def _prompt_terms(form: TranscriptionForm | TranslationForm, spec: ModelSpec) -> tuple[str, ...]:
    return tuple(term for term in terms_of(form.prompt) if _is_plain(term)) if spec.keywords else ()


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
