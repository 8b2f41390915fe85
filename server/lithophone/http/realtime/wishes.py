"""What a session's configuration asks of the engine, and what it asks in vain. Pure.

A hint that a model cannot use is no error here: to the clients of this protocol any error is fatal.
"""

from __future__ import annotations

from collections.abc import Sequence

from lithophone.audio.voice import TurnOptions
from lithophone.engine.dictation.options import (
    Delay,
    DictationOptions,
    Eagerness,
    SemanticTurns,
    TurnDetection,
)
from lithophone.engine.options import JobOptions
from lithophone.engine.understanding import demonstration_warnings
from lithophone.granite.family import ModelSpec
from lithophone.granite.languages import language_code
from lithophone.granite.prompts import hears_language_hint
from lithophone.granite.vocabulary import terms_of
from lithophone.hosts.base import ModelHost
from lithophone.http.realtime.configuration import (
    DEFAULT_PREFIX_PADDING_MS,
    DEFAULT_SILENCE_DURATION_MS,
    DEFAULT_THRESHOLD,
    Configuration,
    SemanticVad,
    ServerVad,
    Transcription,
)


def dictation_options(configuration: Configuration, host: ModelHost) -> DictationOptions:
    """What a session asks of the engine."""
    wanted = configuration.transcription
    return DictationOptions(
        model_id=host.model_id,
        spec=host.spec,
        turns=_turns(configuration.audio.input.turns),
        delay=wanted.delay or Delay.MEDIUM,
        job=_job(wanted, host.spec),
    )


def warnings_for(configuration: Configuration, spec: ModelSpec) -> tuple[str, ...]:
    """What is set in vain, and what a demonstration model is, in plain sentences."""
    wanted, warnings = configuration.transcription, list[str]()
    if configuration.audio.input.noise_reduction is not None:
        warnings.append("noise_reduction: not done; the models are trained on noisy speech.")
    if (wanted.prompt or "").strip() and not _terms(wanted, spec):
        reason = "it has no names or terms" if spec.keywords else f"{spec.id} takes no hints"
        warnings.append(f"prompt: not used, {reason}.")
    if _asked_keywords(wanted) and not spec.keywords:
        warnings.append(f"keywords: not used, {spec.id} takes none.")
    return (*warnings, *_language_warnings(wanted, spec), *demonstration_warnings(spec, ()))


def _language_warnings(wanted: Transcription, spec: ModelSpec) -> list[str]:
    hints = _hints(wanted)
    job = _job(wanted, spec)
    if hints and job.language is None and len(set(hints)) == 1:
        return [f"language: not used, {spec.id} hears {', '.join(spec.speech_languages)}."]
    if (
        job.language is not None
        and len(spec.speech_languages) > 1
        and not hears_language_hint(spec, job.task)
    ):
        return [f"language: {spec.id} hears it by itself; the hint only labels the answer."]
    return []


def _job(wanted: Transcription, spec: ModelSpec) -> JobOptions:
    return JobOptions(language=_language(wanted, spec), keywords=_keywords(wanted, spec))


def _language(wanted: Transcription, spec: ModelSpec) -> str | None:
    """The one language that is named and can be heard; several are candidates, and the model tells them apart."""
    known = {hint for hint in _hints(wanted) if hint in spec.speech_languages}
    return known.pop() if len(known) == 1 and len(set(_hints(wanted))) == 1 else None


def _hints(wanted: Transcription) -> list[str]:
    """Codes of the languages named: `en-US` and `English` are `en`."""
    named = [wanted.language or "", *(wanted.languages or ())]
    return [code for name in named if (code := language_code(name))]


def _keywords(wanted: Transcription, spec: ModelSpec) -> tuple[str, ...]:
    if not spec.keywords:
        return ()
    return tuple(dict.fromkeys((*_asked_keywords(wanted), *_terms(wanted, spec))))


def _asked_keywords(wanted: Transcription) -> Sequence[str]:
    return [keyword.strip() for keyword in wanted.keywords or () if _is_plain(keyword)]


def _terms(wanted: Transcription, spec: ModelSpec) -> Sequence[str]:
    return [term for term in terms_of(wanted.prompt or "") if _is_plain(term)] if spec.keywords else []


def _is_plain(keyword: str) -> bool:
    """One line without what a control token is made of; OpenAI takes no others."""
    return keyword.strip() != "" and keyword.isprintable() and not set(keyword) & set("<>")


def _turns(turns: ServerVad | SemanticVad | None) -> TurnDetection:
    match turns:
        case None:
            return None
        case SemanticVad(eagerness=eagerness):
            return SemanticTurns(Eagerness.MEDIUM if eagerness in {None, "auto"} else Eagerness(eagerness))
        case ServerVad():
            return TurnOptions(
                threshold=_or_default(turns.threshold, DEFAULT_THRESHOLD),
                prefix_padding_seconds=_or_default(turns.prefix_padding_ms, DEFAULT_PREFIX_PADDING_MS) / 1000,
                silence_seconds=_or_default(turns.silence_duration_ms, DEFAULT_SILENCE_DURATION_MS) / 1000,
            )


def _or_default(value: float | None, default: float) -> float:
    return default if value is None else value
