"""What this server honours of the API today.

Owns the one list of what is refused and why. A feature that comes to be changes its row here. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

import msgspec

from lithophone.audio.voice import TurnOptions
from lithophone.engine.options import JobOptions
from lithophone.errors import InvalidRequestError, UnsupportedParameterError
from lithophone.formats.names import UNDIARIZED, Granularity, ResponseFormat
from lithophone.formats.rendering import RenderOptions
from lithophone.granite.family import FAMILY, LANGUAGE_NAMES, ModelSpec
from lithophone.granite.languages import language_code
from lithophone.granite.prompts import hears_language_hint
from lithophone.granite.vocabulary import terms_of
from lithophone.http.forms import (
    DEFAULT_PREFIX_PADDING_MS,
    DEFAULT_SILENCE_DURATION_MS,
    DEFAULT_TARGET,
    DEFAULT_THRESHOLD,
    AutoChunking,
    Include,
    ServerVad,
    TranscriptionForm,
    TranslationForm,
)
from lithophone.http.quoting import QUOTED_CHARACTERS

STREAMED = (ResponseFormat.JSON, ResponseFormat.TEXT, ResponseFormat.DIARIZED_JSON)
"""The stream's events are the same for the first two."""

_TRANSLATIONS_STREAMED = tuple(written for written in STREAMED if written in UNDIARIZED)

TIMED = (ResponseFormat.SRT, ResponseFormat.VTT, ResponseFormat.VERBOSE_JSON)
"""Formats that show when something was said."""

MOST_UNKNOWN_TOLD = 20
"""Proxies take about 4 KB of headers."""

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
        lambda wish: bool(_codes(wish.form.language)) and not _heard(wish.form, wish.spec),
        "{model} does not understand this language. Supported: {languages}.",
    ),
    Refusal(
        "languages",
        lambda wish: bool(_codes(*wish.form.languages)) and not _heard(wish.form, wish.spec),
        "{model} does not understand any of these languages. Supported: {languages}.",
    ),
    Refusal(
        "keywords",
        lambda wish: not all(_is_plain(keyword) for keyword in wish.form.keywords),
        "A keyword is printable text without `<|`.",
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
        "to_language",
        lambda wish: _target(wish.form) not in wish.spec.translation_targets,
        "{model} does not translate into this language. Supported: {targets}.",
    ),
)


def require_supported(form: TranscriptionForm, spec: ModelSpec) -> None:
    """The server and the model can do what the form asks for; `warnings_for` tells which hints they cannot use.

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
    heard = _heard(form, spec)
    return JobOptions(
        language=heard[0] if len(heard) == 1 else None,
        candidates=heard if len(heard) > 1 else (),
        keywords=_keywords(form, spec),
        temperature=form.temperature,
        normalise_loudness=isinstance(form.chunking_strategy, AutoChunking),
        turns=_turns(form.chunking_strategy) if isinstance(form.chunking_strategy, ServerVad) else None,
        speakers=form.response_format is ResponseFormat.DIARIZED_JSON,
        native_times=native_word_times and spec.word_times and _shows_times(form),
    )


def _streams_words(form: TranscriptionForm | TranslationForm) -> bool:
    """Whether words come with the deltas of a stream."""
    return form.stream and Granularity.WORD in form.timestamp_granularities


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
        segments=set(form.timestamp_granularities) != {Granularity.WORD},
        logprobs=Include.LOGPROBS in form.include,
    )


def translation_options(form: TranslationForm, spec: ModelSpec) -> JobOptions:
    """What a supported translation form asks of the engine."""
    return JobOptions(
        translate_to=_target(form),
        keywords=_prompt_terms(form, spec),
        temperature=form.temperature,
    )


def warnings_for(form: TranscriptionForm | TranslationForm, spec: ModelSpec) -> tuple[str, ...]:
    """What a supported form asks for in vain, in plain ASCII, the field's name first.

    Many clients always send a prompt, a language, or times.
    """
    warnings = [_prompt_warning(form, spec), _times_warning(form)]
    if isinstance(form, TranscriptionForm):
        warnings += [*_language_warnings(form, spec), _keywords_warning(form, spec)]
    return tuple(warning for warning in warnings if warning)


def unknown_warnings(names: Iterable[str]) -> tuple[str, ...]:
    """The fields that are passed over, in plain ASCII and as long as a header allows, which begins with no space."""
    told = [f"{ascii(name)[1:-1].strip()[:QUOTED_CHARACTERS]}: unknown, not used." for name in names]
    more = len(told) - MOST_UNKNOWN_TOLD
    return (*told[:MOST_UNKNOWN_TOLD], f"form: {more} more fields are unknown.") if more > 0 else tuple(told)


def require_used(warnings: Iterable[str]) -> None:
    """Nothing is asked for in vain.

    Raises:
        UnsupportedParameterError: something is; `param` is the first field that is.
    """
    for warning in warnings:
        param, _, reason = warning.partition(": ")
        raise UnsupportedParameterError(f"`{param}`: {reason} (This server is strict.)", param=param)


def _prompt_warning(form: TranscriptionForm | TranslationForm, spec: ModelSpec) -> str:
    if not form.prompt.strip() or _prompt_terms(form, spec):
        return ""
    reason = (
        "it has no names or terms; those alone can be hinted at"
        if spec.keywords
        else f"{spec.id} takes no hints"
    )
    return f"prompt: not used, {reason}."


def _language_warnings(form: TranscriptionForm, spec: ModelSpec) -> Iterator[str]:
    heard, asked = _heard(form, spec), _codes(form.language, *form.languages)
    unheard = ", ".join(ascii(code)[1:-1][:QUOTED_CHARACTERS] for code in asked if code not in heard)
    if unheard:
        yield f"languages: {spec.id} does not understand {unheard}; not used."
    task = job_options(form, spec).task
    if len(heard) == 1 and len(spec.speech_languages) > 1 and not hears_language_hint(spec, task):
        yield f"language: {spec.id} hears it by itself; the hint only labels the answer."


def _keywords_warning(form: TranscriptionForm, spec: ModelSpec) -> str:
    if not form.keywords or spec.keywords:
        return ""
    return f"keywords: not used, {spec.id} takes none; these do: {_able(lambda spec: spec.keywords)}."


def _times_warning(form: TranscriptionForm | TranslationForm) -> str:
    if Granularity.WORD not in form.timestamp_granularities or _streams_words(form):
        return ""
    if isinstance(form, TranslationForm):
        return "timestamp_granularities: the words of a translation have times in a stream; not used."
    if form.response_format is ResponseFormat.VERBOSE_JSON:
        return ""
    return "timestamp_granularities: words have times with response_format verbose_json or in a stream; not used."


def _heard(form: TranscriptionForm, spec: ModelSpec) -> tuple[str, ...]:
    """The languages the form names that the model understands."""
    return tuple(code for code in _codes(form.language, *form.languages) if code in spec.speech_languages)


def _target(form: TranslationForm) -> str:
    """The language to write."""
    return language_code(form.to_language) or DEFAULT_TARGET


def _keywords(form: TranscriptionForm, spec: ModelSpec) -> tuple[str, ...]:
    asked = tuple(keyword.strip() for keyword in form.keywords) if spec.keywords else ()
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


def _codes(*hints: str) -> tuple[str, ...]:
    """The languages that are named, each once, in their order."""
    return tuple(dict.fromkeys(code for hint in hints if (code := language_code(hint))))
