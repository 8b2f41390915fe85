"""The documents and events a transcript is written as, name for name as OpenAI's SDK types have them.

Owns the structs; `documents` and `events` fill them. A field that is `UNSET` is left out of the JSON.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType


class InputTokenDetails(msgspec.Struct, frozen=True, kw_only=True):
    """What the input tokens were."""

    audio_tokens: int
    text_tokens: int


class TokenUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens in and out."""

    type: Literal["tokens"] = "tokens"
    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_token_details: InputTokenDetails


class DurationUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Length of the audio."""

    type: Literal["duration"] = "duration"
    seconds: float


class Logprob(msgspec.Struct, frozen=True, kw_only=True):
    """A token, its UTF-8 bytes as numbers, and its natural-log probability."""

    token: str
    bytes: tuple[int, ...]
    logprob: float


class Language(msgspec.Struct, frozen=True, kw_only=True):
    """An ISO-639-1 code."""

    code: str


class Transcription(msgspec.Struct, frozen=True, kw_only=True):
    """`response_format=json`."""

    text: str
    usage: TokenUsage
    languages: tuple[Language, ...]
    logprobs: tuple[Logprob, ...] | UnsetType = UNSET


class VerboseSegment(msgspec.Struct, frozen=True, kw_only=True):
    """A segment of `verbose_json`. `seek` is where its audio begins, in Whisper's frames of 10 ms.

    `retried` is ours, and there only when true: a first try repeated itself and was replaced.
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
    retried: Literal[True] | UnsetType = UNSET


class VerboseWord(msgspec.Struct, frozen=True, kw_only=True):
    """A word of `verbose_json`, in seconds from the start of the recording.

    `probability` is ours: how sure the model's CTC head is of the word's letters, 0 to 1; left out where the model told
    the times itself.
    """

    word: str
    start: float
    end: float
    probability: float | UnsetType = UNSET


class VerboseTranscription(msgspec.Struct, frozen=True, kw_only=True):
    """`response_format=verbose_json`. `language` is the English name in lower case, as OpenAI writes it.

    `segments` are left out where words alone were asked for.
    """

    task: Literal["transcribe"] = "transcribe"
    language: str
    duration: float
    text: str
    segments: tuple[VerboseSegment, ...] | UnsetType = UNSET
    usage: DurationUsage
    words: tuple[VerboseWord, ...] | UnsetType = UNSET


class DiarizedSegment(msgspec.Struct, frozen=True, kw_only=True):
    """What one speaker says at a time, in `diarized_json` and as an event of its stream."""

    type: Literal["transcript.text.segment"] = "transcript.text.segment"
    id: str
    start: float
    end: float
    speaker: str
    text: str


class DiarizedTranscription(msgspec.Struct, frozen=True, kw_only=True):
    """`response_format=diarized_json`. Speakers are `A`, `B`, … by their first appearance."""

    task: Literal["transcribe"] = "transcribe"
    duration: float
    text: str
    segments: tuple[DiarizedSegment, ...]
    usage: TokenUsage


class Translation(msgspec.Struct, frozen=True, kw_only=True):
    """`response_format=json` of a translation: OpenAI's has nothing but the text."""

    text: str


class VerboseTranslation(msgspec.Struct, frozen=True, kw_only=True):
    """`response_format=verbose_json` of a translation. `language` is the one it is written in."""

    task: Literal["translate"] = "translate"
    language: str
    duration: float
    text: str
    segments: tuple[VerboseSegment, ...]


class TextDelta(msgspec.Struct, frozen=True, kw_only=True):
    """Event: more of the text. `segment_id` names the segment it belongs to, where speakers are told apart.

    `words` are ours: those of the text, where word times were asked for.
    """

    type: Literal["transcript.text.delta"] = "transcript.text.delta"
    delta: str
    segment_id: str | UnsetType = UNSET
    logprobs: tuple[Logprob, ...] | UnsetType = UNSET
    words: tuple[VerboseWord, ...] | UnsetType = UNSET


class TextDone(msgspec.Struct, frozen=True, kw_only=True):
    """Event: the whole text, which is the deltas joined."""

    type: Literal["transcript.text.done"] = "transcript.text.done"
    text: str
    usage: TokenUsage
    languages: tuple[Language, ...]
    logprobs: tuple[Logprob, ...] | UnsetType = UNSET
