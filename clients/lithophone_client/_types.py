"""What the server answers, as frozen structs.

The names are those on the wire, so code moves between this client and OpenAI's. All times are seconds from the start
of the audio. Unknown fields are ignored, so a newer server works; a missing required field is an error.
This module knows neither requests nor I/O.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from lithophone_client._subtitles.cues import USUAL_LIMITS, CueLimits
from lithophone_client._subtitles.subtitles import render_srt, render_vtt
from lithophone_client._subtitles.words import Segment as TimedSegment
from lithophone_client._timed import Whole, timed_segments


class InputTokenDetails(msgspec.Struct, frozen=True, kw_only=True):
    """Where the input tokens of a request came from."""

    audio_tokens: int | None = None
    text_tokens: int | None = None


class TokenUsage(msgspec.Struct, frozen=True, kw_only=True, tag="tokens", tag_field="type"):
    """What a request used, counted in tokens of the model."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_token_details: InputTokenDetails | None = None


class DurationUsage(msgspec.Struct, frozen=True, kw_only=True, tag="duration", tag_field="type"):
    """What a request used, as seconds of audio."""

    seconds: float


Usage = TokenUsage | DurationUsage


class TokenLogprob(msgspec.Struct, frozen=True, kw_only=True):
    """One output token, its UTF-8 bytes and the natural logarithm of its probability."""

    token: str | None = None
    bytes: tuple[int, ...] | None = None
    logprob: float | None = None


class Language(msgspec.Struct, frozen=True, kw_only=True):
    """A language found in the audio, as an ISO-639-1 code."""

    code: str


class Warned(msgspec.Struct, frozen=True, kw_only=True):
    """Any answer about a recording, and what is to be known of it.

    `warnings` come in the header `x-lithophone-warning`: what was asked for in vain, what of a file could not be read, that
    a demonstration model answers.
    """

    warnings: tuple[str, ...] = ()


class Transcription(Warned, frozen=True, kw_only=True):
    """The `json` answer. `logprobs` only when asked for, `languages` only from models that tell them."""

    text: str
    usage: Usage | None = None
    logprobs: tuple[TokenLogprob, ...] | None = None
    languages: tuple[Language, ...] | None = None


class Segment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A stretch of the transcript with its times and what the decoder thought of it.

    `retried`: a first try repeated itself and was replaced.
    """

    id: int
    seek: int
    start: float
    end: float
    text: str
    tokens: tuple[int, ...]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float
    retried: bool = False


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """One word and its times; `probability` is how sure the model is of it, where the server tells."""

    word: str
    start: float
    end: float
    probability: float | None = None


class _Timed(Warned, frozen=True, kw_only=True):
    """An answer with times, of which subtitles can be made."""

    def to_srt(
        self, *, line_characters: int = USUAL_LIMITS.line_characters, lines: int = USUAL_LIMITS.lines
    ) -> str:
        """A SubRip file, the one that the server would write if the answer has segments and words.

        Args:
            line_characters: the longest line of a subtitle.
            lines: how many it may have.

        Raises:
            ValueError: the answer has no times.
        """
        return render_srt(self._timed(), CueLimits(line_characters=line_characters, lines=lines))

    def to_vtt(
        self, *, line_characters: int = USUAL_LIMITS.line_characters, lines: int = USUAL_LIMITS.lines
    ) -> str:
        """A WebVTT file; as `to_srt`."""
        return render_vtt(self._timed(), CueLimits(line_characters=line_characters, lines=lines))

    def _timed(self) -> list[TimedSegment]:
        raise NotImplementedError


class VerboseTranscription(_Timed, frozen=True, kw_only=True):
    """The `verbose_json` answer. `language` is an English name; `words` is None unless asked for."""

    language: str
    duration: float
    text: str
    task: Literal["transcribe", "translate"] = "transcribe"
    segments: tuple[Segment, ...] | None = None
    words: tuple[Word, ...] | None = None
    usage: Usage | None = None

    def _timed(self) -> list[TimedSegment]:
        if self.segments is not None:
            return timed_segments(self.segments, self.words or ())
        if self.words is None:
            raise ValueError("the answer has no times: ask for timestamp_granularities")
        return timed_segments([Whole(0.0, self.duration, self.text)], self.words)


class Translation(Warned, frozen=True, kw_only=True):
    """The `json` answer of a translation: always English."""

    text: str
    usage: Usage | None = None


class SpeakerSegment(
    msgspec.Struct, frozen=True, kw_only=True, tag="transcript.text.segment", tag_field="type"
):
    """What one speaker said: in the `diarized_json` answer, and as an event of a diarized stream."""

    id: str
    start: float
    end: float
    speaker: str
    text: str


class DiarizedTranscription(_Timed, frozen=True, kw_only=True):
    """The `diarized_json` answer."""

    duration: float
    text: str
    segments: tuple[SpeakerSegment, ...]
    task: Literal["transcribe"] = "transcribe"
    usage: Usage | None = None

    def _timed(self) -> list[TimedSegment]:
        return timed_segments(self.segments)


class TextDelta(msgspec.Struct, frozen=True, kw_only=True, tag="transcript.text.delta", tag_field="type"):
    """A piece of text, to be appended to the ones before; `words` are Lithophone's own, where they were asked for."""

    delta: str
    logprobs: tuple[TokenLogprob, ...] | None = None
    segment_id: str | None = None
    words: tuple[Word, ...] | None = None


class Done(msgspec.Struct, frozen=True, kw_only=True, tag="transcript.text.done", tag_field="type"):
    """The last event: the whole text, which is the deltas joined."""

    text: str
    usage: Usage | None = None
    logprobs: tuple[TokenLogprob, ...] | None = None
    languages: tuple[Language, ...] | None = None


StreamEvent = TextDelta | SpeakerSegment | Done


class ModelDetails(msgspec.Struct, frozen=True, kw_only=True):
    """What a Lithophone server says of a model beyond OpenAI's fields.

    `alias_of` is the id of the model that answers, where this one is another name; `revision` says which weights it has;
    `note` is what a demonstration model says of itself.
    """

    alias_of: str | None = None
    state: str | None = None
    device: str | None = None
    dtype: str | None = None
    revision: str | None = None
    note: str | None = None


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model the server offers. `created` is a Unix time in seconds."""

    id: str
    created: int
    owned_by: str
    object: Literal["model"] = "model"
    lithophone: ModelDetails | None = None


class ServerVad(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="server_vad", tag_field="type"
):
    """Cut the audio where the server hears no voice. A value left at None is the server's choice.

    Attributes:
        threshold: 0 to 1; the higher, the louder speech must be.
        prefix_padding_ms: audio kept before the voice, in milliseconds.
        silence_duration_ms: silence that ends a chunk, in milliseconds.
    """

    threshold: float | None = None
    prefix_padding_ms: int | None = None
    silence_duration_ms: int | None = None
