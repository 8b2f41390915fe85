"""The documents that are JSON: `json`, `verbose_json` and `diarized_json`, and those of a translation.

Owns how a transcript's structs become those of `shapes`, which the events of a stream are made of too.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import UNSET

from lithophone.engine.transcript import Segment, Token, Transcript, Usage
from lithophone.formats.shapes import (
    DiarizedSegment,
    DiarizedTranscription,
    DurationUsage,
    InputTokenDetails,
    Language,
    Logprob,
    TokenUsage,
    Transcription,
    Translation,
    VerboseSegment,
    VerboseTranscription,
    VerboseTranslation,
    VerboseWord,
)
from lithophone.formats.times import wire_seconds
from lithophone.granite.family import LANGUAGE_NAMES
from lithophone.granite.words import Word

WHISPER_FRAMES_PER_SECOND = 100
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
UNKNOWN_LANGUAGE = "unknown"


class SpeakerLabels:
    """`A` for whoever speaks first, then `B`, behind `Z` come `AA`, `AB`; told segment by segment, in order."""

    def __init__(self) -> None:
        self._places: dict[int | None, int] = {}

    def label(self, speaker: int | None) -> str:
        """The label of the number the engine gave."""
        place = self._places.setdefault(speaker, len(self._places)) + 1
        letters = ""
        while place:
            place, letter = divmod(place - 1, len(LETTERS))
            letters = LETTERS[letter] + letters
        return letters


def transcription(transcript: Transcript, *, logprobs: bool) -> Transcription:
    """The `json` document."""
    return Transcription(
        text=transcript.text,
        usage=token_usage(transcript.usage),
        languages=detected_languages(transcript),
        logprobs=token_logprobs(transcript.segments) if logprobs else UNSET,
    )


def verbose_transcription(
    transcript: Transcript, *, words: bool = False, segments: bool = True
) -> VerboseTranscription:
    """The `verbose_json` document."""
    duration = wire_seconds(transcript.duration_seconds)
    return VerboseTranscription(
        language=_language_name(transcript.language),
        duration=duration,
        text=transcript.text,
        segments=_verbose_segments(transcript) if segments else UNSET,
        usage=DurationUsage(seconds=duration),
        words=timed_words(transcript.words) if words else UNSET,
    )


def diarized_transcription(transcript: Transcript) -> DiarizedTranscription:
    """The `diarized_json` document. Silence has no speaker, so it has no segment."""
    labels = SpeakerLabels()
    return DiarizedTranscription(
        duration=wire_seconds(transcript.duration_seconds),
        text=transcript.text,
        segments=tuple(diarized_segment(segment, labels) for segment in transcript.spoken_segments),
        usage=token_usage(transcript.usage),
    )


def diarized_segment(segment: Segment, labels: SpeakerLabels) -> DiarizedSegment:
    """A segment with the label of its speaker."""
    return DiarizedSegment(
        id=segment_id(segment),
        start=wire_seconds(segment.start_seconds),
        end=wire_seconds(segment.end_seconds),
        speaker=labels.label(segment.speaker),
        text=segment.text,
    )


def segment_id(segment: Segment) -> str:
    """The name of a segment; the same in the document and in every event."""
    return f"seg_{segment.id}"


def translation(transcript: Transcript) -> Translation:
    """The `json` document of a translation."""
    return Translation(text=transcript.text)


def verbose_translation(transcript: Transcript) -> VerboseTranslation:
    """The `verbose_json` document of a translation. Its segments' times are those of the speech, shared out by length."""
    return VerboseTranslation(
        language=_language_name(transcript.language),
        duration=wire_seconds(transcript.duration_seconds),
        text=transcript.text,
        segments=_verbose_segments(transcript),
    )


def token_usage(usage: Usage) -> TokenUsage:
    """Tokens as OpenAI counts them: audio and text are the input."""
    input_tokens = usage.audio_tokens + usage.text_tokens
    return TokenUsage(
        input_tokens=input_tokens,
        output_tokens=usage.output_tokens,
        total_tokens=input_tokens + usage.output_tokens,
        input_token_details=InputTokenDetails(audio_tokens=usage.audio_tokens, text_tokens=usage.text_tokens),
    )


def token_logprobs(segments: Iterable[Segment]) -> tuple[Logprob, ...]:
    """Every token of the segments, in order, with its probability."""
    return logprobs_of(token for segment in segments for token in segment.tokens)


def logprobs_of(tokens: Iterable[Token]) -> tuple[Logprob, ...]:
    """Tokens with their probabilities."""
    return tuple(
        Logprob(token=token.text, bytes=tuple(token.text.encode()), logprob=token.logprob) for token in tokens
    )


def timed_words(words: Iterable[Word]) -> tuple[VerboseWord, ...]:
    """The words with their times and how sure the model is of each."""
    return tuple(_verbose_word(word) for word in words)


def detected_languages(transcript: Transcript) -> tuple[Language, ...]:
    """The language as OpenAI lists it; none if nothing told."""
    return () if transcript.language is None else (Language(code=transcript.language),)


def _language_name(code: str | None) -> str:
    return UNKNOWN_LANGUAGE if code is None else LANGUAGE_NAMES.get(code, code).lower()


def _verbose_word(word: Word) -> VerboseWord:
    return VerboseWord(
        word=word.text.strip(),
        start=wire_seconds(word.start_seconds),
        end=wire_seconds(word.end_seconds),
        probability=UNSET if word.probability is None else word.probability,
    )


def _verbose_segments(transcript: Transcript) -> tuple[VerboseSegment, ...]:
    """Numbered from 0. Silence has no segment: subtitle editors would make an empty cue of it."""
    return tuple(_verbose_segment(place, segment) for place, segment in enumerate(transcript.spoken_segments))


def _verbose_segment(place: int, segment: Segment) -> VerboseSegment:
    start = wire_seconds(segment.start_seconds)
    return VerboseSegment(
        id=place,
        seek=round(start * WHISPER_FRAMES_PER_SECOND),
        start=start,
        end=wire_seconds(segment.end_seconds),
        text=segment.text,
        tokens=tuple(token.id for token in segment.tokens),
        temperature=segment.temperature,
        avg_logprob=segment.average_logprob,
        compression_ratio=segment.compression_ratio,
        no_speech_prob=segment.no_speech_probability,
        retried=True if segment.retried else UNSET,
    )
