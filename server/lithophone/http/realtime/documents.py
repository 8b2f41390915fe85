"""A session's configuration as a client reads it, with every default filled in: today's shape and the beta's. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from lithophone.http.realtime.configuration import (
    AlawFormat,
    AudioFormat,
    AudioInput,
    Configuration,
    NoiseReduction,
    PcmFormat,
    SemanticVad,
    ServerVad,
    Transcription,
    UlawFormat,
)

BETA_FORMATS: Final[dict[type[AudioFormat], str]] = {
    PcmFormat: "pcm16",
    UlawFormat: "g711_ulaw",
    AlawFormat: "g711_alaw",
}


class Extras(msgspec.Struct, frozen=True, kw_only=True):
    """What OpenAI's objects have no field for: what is set in vain, or to be told of the model, in plain sentences."""

    warnings: tuple[str, ...]


class SessionInput(msgspec.Struct, frozen=True, kw_only=True):
    """How audio comes in and is heard."""

    format: AudioFormat
    transcription: Transcription | None
    turn_detection: ServerVad | SemanticVad | None
    noise_reduction: NoiseReduction | None


class SessionAudio(msgspec.Struct, frozen=True, kw_only=True):
    """The audio of a session."""

    input: SessionInput


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A session as it is now; `expires_at` in seconds since 1970."""

    type: str = "transcription"
    object: str = "realtime.transcription_session"
    id: str
    expires_at: int
    audio: SessionAudio
    include: tuple[str, ...] | None
    lithophone: Extras | UnsetType = UNSET


class BetaSession(msgspec.Struct, frozen=True, kw_only=True):
    """The same with the beta's flat names."""

    object: str = "realtime.transcription_session"
    id: str
    expires_at: int
    input_audio_format: str
    input_audio_transcription: Transcription | None
    turn_detection: ServerVad | SemanticVad | None
    input_audio_noise_reduction: NoiseReduction | None
    include: tuple[str, ...] | None
    client_secret: dict[str, Any] | None = None
    lithophone: Extras | UnsetType = UNSET


def session_document(
    session_id: str,
    expires_at: int,
    configuration: Configuration,
    *,
    model_id: str,
    warnings: Sequence[str] = (),
) -> Session:
    """A session in today's shape.

    Args:
        session_id: Its name.
        expires_at: When it ends.
        configuration: What is set.
        model_id: What hears where the client has named nothing.
        warnings: What is set in vain.
    """
    wanted = configuration.audio.input
    return Session(
        id=session_id,
        expires_at=expires_at,
        audio=SessionAudio(
            input=SessionInput(
                format=wanted.format or PcmFormat(),
                transcription=_transcription(wanted, model_id),
                turn_detection=wanted.turns,
                noise_reduction=wanted.noise_reduction,
            )
        ),
        include=configuration.include,
        lithophone=Extras(warnings=tuple(warnings)) if warnings else UNSET,
    )


def _transcription(wanted: AudioInput, model_id: str) -> Transcription | None:
    if wanted.transcription is None or wanted.transcription.model is not None:
        return wanted.transcription
    return msgspec.structs.replace(wanted.transcription, model=model_id)


def beta_document(session: Session) -> BetaSession:
    """A session in the beta's shape."""
    heard = session.audio.input
    return BetaSession(
        id=session.id,
        expires_at=session.expires_at,
        input_audio_format=BETA_FORMATS[type(heard.format)],
        input_audio_transcription=heard.transcription,
        turn_detection=heard.turn_detection,
        input_audio_noise_reduction=heard.noise_reduction,
        include=session.include,
        lithophone=session.lithophone,
    )
