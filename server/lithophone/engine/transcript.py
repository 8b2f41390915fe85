"""What a transcription is, whatever format it leaves in.

Owns the domain structs between recognition and rendering, and the arithmetic on them. Pure.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import msgspec

from lithophone.backends.base import Recognition, Token
from lithophone.granite.words import Word


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens spent: `text_tokens` and `audio_tokens` go in, `output_tokens` come out."""

    audio_tokens: int = 0
    text_tokens: int = 0
    output_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            audio_tokens=self.audio_tokens + other.audio_tokens,
            text_tokens=self.text_tokens + other.text_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
        )


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of the transcript with its own times and scores.

    `delta` is what this segment adds to the transcript's text, separator included: the deltas joined are the text.
    `words` carry the times; joined they are `delta` but for the separator. `average_logprob` is the mean natural-log probability of the tokens; `compression_ratio` is UTF-8 bytes over their
    zlib size, as Whisper defines it (repetition shows as a high ratio). `no_speech_probability` is that of the window the
    segment lies in: by voice activity where that was listened to, else by the CTC head. `retried`: a first try repeated
    itself and was replaced. `speaker` is the number of who said it, where speakers were told apart.
    """

    id: int
    start_seconds: float
    end_seconds: float
    text: str
    delta: str
    tokens: tuple[Token, ...]
    temperature: float
    average_logprob: float
    compression_ratio: float
    no_speech_probability: float
    usage: Usage
    words: tuple[Word, ...] = ()
    retried: bool = False
    speaker: int | None = None


class Transcript(msgspec.Struct, frozen=True, kw_only=True):
    """A whole transcription. `language` is an ISO-639-1 code, `None` when there is nothing to tell it by."""

    text: str
    language: str | None
    duration_seconds: float
    segments: tuple[Segment, ...]
    usage: Usage

    @property
    def spoken_segments(self) -> tuple[Segment, ...]:
        """The segments in which something is said."""
        return tuple(segment for segment in self.segments if segment.text)

    @property
    def words(self) -> tuple[Word, ...]:
        """All words, in order, with their times in the recording."""
        return tuple(word for segment in self.segments for word in segment.words)


def compression_ratio(text: str) -> float:
    """UTF-8 bytes of `text` over the size zlib packs them to; 0 for no text."""
    raw = text.encode()
    return len(raw) / len(zlib.compress(raw)) if raw else 0.0


def average_logprob(tokens: Iterable[Token]) -> float:
    """Mean natural-log probability; 0 for no tokens (nothing was uncertain)."""
    scores = [token.logprob for token in tokens]
    return sum(scores) / len(scores) if scores else 0.0


def usage_of(recognition: Recognition) -> Usage:
    """What one window cost."""
    return Usage(
        audio_tokens=recognition.audio_tokens,
        text_tokens=recognition.prompt_tokens,
        output_tokens=len(recognition.tokens),
    )
