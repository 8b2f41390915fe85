"""What a client may set in a session, and how one update after the other makes the whole. Pure.

Owns the structs, the merging, and the beta's flat names. Source: the types `realtime_transcription_session_*`,
`audio_transcription` and `beta/realtime/transcription_session*` of OpenAI's Python SDK. What is not known here is passed over:
clients send fields of conversations too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeGuard

import msgspec
from msgspec import UNSET, Meta, UnsetType

from lithophone.audio.incoming import HIGHEST_RATE, LOWEST_RATE, TELEPHONE_RATE, Encoding, IncomingFormat
from lithophone.engine.dictation.options import Delay
from lithophone.errors import InvalidRequestError

Json = dict[str, Any]

DEFAULT_RATE: Final = 24_000
DEFAULT_THRESHOLD: Final = 0.5
DEFAULT_PREFIX_PADDING_MS: Final = 300
DEFAULT_SILENCE_DURATION_MS: Final = 500
LONGEST_PADDING_MS: Final = 30_000
LOGPROBS: Final = "item.input_audio_transcription.logprobs"
LIVE_MODELS: Final = frozenset({"gpt-live-transcribe", "gpt-realtime-whisper"})
"""At OpenAI these have no turn detection; where a client says nothing of it, they have none here."""

_Rate = Annotated[int, Meta(ge=LOWEST_RATE, le=HIGHEST_RATE)]
_Milliseconds = Annotated[int, Meta(ge=0, le=LONGEST_PADDING_MS)]


class PcmFormat(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="audio/pcm"):
    """Signed 16 bit, mono. OpenAI's rate is 24,000; others are taken too."""

    rate: _Rate | None = DEFAULT_RATE

    @property
    def incoming(self) -> IncomingFormat:
        """What its bytes mean."""
        return IncomingFormat(Encoding.PCM16, self.rate or DEFAULT_RATE)


class UlawFormat(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="audio/pcmu"):
    """G.711 µ-law."""

    @property
    def incoming(self) -> IncomingFormat:
        """What its bytes mean."""
        return IncomingFormat(Encoding.ULAW, TELEPHONE_RATE)


class AlawFormat(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="audio/pcma"):
    """G.711 A-law."""

    @property
    def incoming(self) -> IncomingFormat:
        """What its bytes mean."""
        return IncomingFormat(Encoding.ALAW, TELEPHONE_RATE)


AudioFormat = PcmFormat | UlawFormat | AlawFormat


class Transcription(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What to write, and what may be heard."""

    model: str | None = None
    language: str | None = None
    languages: tuple[str, ...] | None = None
    prompt: str | None = None
    keywords: tuple[str, ...] | None = None
    delay: Delay | None = None


class ServerVad(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="server_vad"):
    """Silence ends a turn."""

    threshold: Annotated[float, Meta(ge=0, le=1)] | None = DEFAULT_THRESHOLD
    prefix_padding_ms: _Milliseconds | None = DEFAULT_PREFIX_PADDING_MS
    silence_duration_ms: _Milliseconds | None = DEFAULT_SILENCE_DURATION_MS


class SemanticVad(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="semantic_vad"):
    """A turn ends soon after words that sound finished."""

    eagerness: Literal["low", "medium", "high", "auto"] | None = "auto"


class NoiseReduction(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Accepted, and not done."""

    type: Literal["near_field", "far_field"] | None = None
    strength: float | None = None


class AudioInput(msgspec.Struct, frozen=True, kw_only=True):
    """How audio comes in and is heard. `turn_detection` that is unset is the model's own default; None is none."""

    format: AudioFormat | None = PcmFormat()
    transcription: Transcription | None = Transcription()
    turn_detection: ServerVad | SemanticVad | UnsetType | None = UNSET
    noise_reduction: NoiseReduction | None = None

    @property
    def incoming(self) -> IncomingFormat:
        """What the bytes mean."""
        return (self.format or PcmFormat()).incoming

    @property
    def turns(self) -> ServerVad | SemanticVad | None:
        """What ends a turn."""
        if self.turn_detection is not UNSET:
            return self.turn_detection
        model = None if self.transcription is None else self.transcription.model
        return None if model in LIVE_MODELS else ServerVad()


class Audio(msgspec.Struct, frozen=True, kw_only=True):
    """The audio of a session; none goes out."""

    input: AudioInput = AudioInput()


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """What is set in a session."""

    audio: Audio = Audio()
    include: tuple[str, ...] | None = None

    @property
    def logprobs(self) -> bool:
        """Whether tokens come with their probabilities."""
        return LOGPROBS in (self.include or ())

    @property
    def transcription(self) -> Transcription:
        """What to write; a client that has set none gets the defaults."""
        return self.audio.input.transcription or Transcription()


BETA_FORMATS: Final[Mapping[str, Json]] = {
    "pcm16": {"type": "audio/pcm"},
    "g711_ulaw": {"type": "audio/pcmu"},
    "g711_alaw": {"type": "audio/pcma"},
}
_BETA_INPUT: Final = {
    "input_audio_transcription": "transcription",
    "turn_detection": "turn_detection",
    "input_audio_noise_reduction": "noise_reduction",
}


def from_beta(update: Json) -> Json:
    """An update with the beta's flat names as one with today's; what has today's names stays."""
    flat = {ours: update[theirs] for theirs, ours in _BETA_INPUT.items() if theirs in update}
    if "input_audio_format" in update:
        named = update["input_audio_format"]
        flat["format"] = BETA_FORMATS.get(named, {"type": named}) if isinstance(named, str) else named
    if not flat:
        return update
    kept = {name: value for name, value in update.items() if name not in {*_BETA_INPUT, "input_audio_format"}}
    return merged({"audio": {"input": flat}}, kept)


def merged(current: Json, update: Json) -> Json:
    """`current` with what is in `update`: fields left out keep their value, a null takes its place as any value does.

    An object of another `type` is another object, of which nothing is kept.
    """
    whole = dict(current)
    for name, value in update.items():
        before = whole.get(name)
        whole[name] = (
            merged(before, value)
            if _is_object(before) and _is_object(value) and _same_type(before, value)
            else value
        )
    return whole


def _is_object(value: object) -> TypeGuard[Json]:
    return isinstance(value, dict)


def _same_type(before: Json, update: Json) -> bool:
    return update.get("type", before.get("type")) == before.get("type")


def read(document: Json) -> Configuration:
    """The configuration that a merged document is.

    Raises:
        InvalidRequestError: a value has no meaning; `param` is where it stands.
    """
    try:
        return msgspec.convert(document, Configuration, strict=False)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$")
        path = place.rstrip("`").lstrip(".")
        raise InvalidRequestError(f"{reason}.", param=f"session.{path}" if path else "session") from None
