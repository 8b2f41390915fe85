"""What a session sends, name for name as OpenAI's SDK types have it. Pure.

Owns the structs of the events, and which of them tell what happened in the engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from lithophone.backends.base import Token
from lithophone.engine.dictation.events import (
    Cleared,
    Committed,
    Completed,
    Delta,
    DictationEvent,
    Failed,
    NothingToCommit,
    SpeechStarted,
    SpeechStopped,
)
from lithophone.errors import NothingToCommitError, ServiceError
from lithophone.formats.documents import logprobs_of, token_usage
from lithophone.formats.shapes import Language, Logprob, TokenUsage
from lithophone.http.realtime.documents import BetaSession, Extras, Session


class ServerEvent(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """Any of them; the name is given when it is sent."""

    event_id: str = ""


class SessionCreated(ServerEvent, frozen=True, kw_only=True, tag="session.created"):
    """The first event."""

    session: Session


class SessionUpdated(ServerEvent, frozen=True, kw_only=True, tag="session.updated"):
    """The whole configuration, as it is now."""

    session: Session


class BetaSessionCreated(ServerEvent, frozen=True, kw_only=True, tag="transcription_session.created"):
    """The beta's name of it."""

    session: BetaSession


class BetaSessionUpdated(ServerEvent, frozen=True, kw_only=True, tag="transcription_session.updated"):
    """The beta's name of it."""

    session: BetaSession


class TurnStarted(ServerEvent, frozen=True, kw_only=True, tag="input_audio_buffer.speech_started"):
    """Somebody speaks; in milliseconds from the session's start."""

    item_id: str
    audio_start_ms: int


class TurnStopped(ServerEvent, frozen=True, kw_only=True, tag="input_audio_buffer.speech_stopped"):
    """Nobody does any more."""

    item_id: str
    audio_end_ms: int


class BufferCommitted(ServerEvent, frozen=True, kw_only=True, tag="input_audio_buffer.committed"):
    """The audio of an item is whole."""

    item_id: str
    previous_item_id: str | None


class BufferCleared(ServerEvent, frozen=True, kw_only=True, tag="input_audio_buffer.cleared"):
    """What was not committed is gone."""


class InputAudio(msgspec.Struct, frozen=True, kw_only=True):
    """The content of an item."""

    type: Literal["input_audio"] = "input_audio"
    transcript: str | None = None


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """A committed piece of audio."""

    id: str
    object: Literal["realtime.item"] = "realtime.item"
    type: Literal["message"] = "message"
    status: Literal["completed"] = "completed"
    role: Literal["user"] = "user"
    content: tuple[InputAudio, ...] = (InputAudio(),)


class ItemAdded(ServerEvent, frozen=True, kw_only=True, tag="conversation.item.added"):
    """An item is there."""

    item: Item
    previous_item_id: str | None


class ItemDone(ServerEvent, frozen=True, kw_only=True, tag="conversation.item.done"):
    """It is whole."""

    item: Item
    previous_item_id: str | None


class BetaItemCreated(ServerEvent, frozen=True, kw_only=True, tag="conversation.item.created"):
    """The beta's name of both."""

    item: Item
    previous_item_id: str | None


class TranscriptDelta(
    ServerEvent, frozen=True, kw_only=True, tag="conversation.item.input_audio_transcription.delta"
):
    """More words, which stand."""

    item_id: str
    content_index: int = 0
    delta: str
    logprobs: tuple[Logprob, ...] | UnsetType = UNSET


class TranscriptCompleted(
    ServerEvent, frozen=True, kw_only=True, tag="conversation.item.input_audio_transcription.completed"
):
    """All that was said in an item."""

    item_id: str
    content_index: int = 0
    transcript: str
    usage: TokenUsage
    languages: tuple[Language, ...]
    logprobs: tuple[Logprob, ...] | UnsetType = UNSET
    lithophone: Extras | UnsetType = UNSET


class EventError(msgspec.Struct, frozen=True, kw_only=True):
    """OpenAI's error object; `event_id` is that of the client's event at fault."""

    type: str
    code: str | None
    message: str
    param: str | None
    event_id: str | UnsetType | None = UNSET


class TranscriptFailed(
    ServerEvent, frozen=True, kw_only=True, tag="conversation.item.input_audio_transcription.failed"
):
    """An item cannot be transcribed."""

    item_id: str
    content_index: int = 0
    error: EventError


class ErrorEvent(ServerEvent, frozen=True, kw_only=True, tag="error"):
    """Something the client sent cannot be honoured, or the session ends."""

    error: EventError


def error_event(error: ServiceError, event_id: str | None = None) -> ErrorEvent:
    """What is wrong, and with which of the client's events."""
    return ErrorEvent(error=_error(error, event_id=event_id))


def _error(error: ServiceError, event_id: str | UnsetType | None = UNSET) -> EventError:
    return EventError(
        type=error.type, code=error.code, message=error.message, param=error.param, event_id=event_id
    )


def wire_events(
    told: DictationEvent, *, beta: bool, logprobs: bool, event_id: str | None
) -> list[ServerEvent]:
    """The events that tell a client what happened.

    Args:
        told: What happened.
        beta: With the beta's names.
        logprobs: With the probabilities of the tokens.
        event_id: Of the client's commit, where that is answered.
    """
    match told:
        case Committed():
            return _committed(told, beta=beta)
        case NothingToCommit():
            return [error_event(NothingToCommitError("There is no audio to commit."), event_id)]
        case Delta() | Completed() | Failed():
            return [_of_transcript(told, logprobs=logprobs)]
        case _:
            return [_of_buffer(told)]


def _of_buffer(told: SpeechStarted | SpeechStopped | Cleared) -> ServerEvent:
    match told:
        case SpeechStarted(item_id, start_seconds):
            return TurnStarted(item_id=item_id, audio_start_ms=_milliseconds(start_seconds))
        case SpeechStopped(item_id, stop_seconds):
            return TurnStopped(item_id=item_id, audio_end_ms=_milliseconds(stop_seconds))
        case Cleared():
            return BufferCleared()


def _of_transcript(told: Delta | Completed | Failed, *, logprobs: bool) -> ServerEvent:
    match told:
        case Delta():
            return _delta(told, logprobs=logprobs)
        case Completed():
            return _completed(told, logprobs=logprobs)
        case Failed(item_id, error):
            return TranscriptFailed(item_id=item_id, error=_error(error))


def _committed(told: Committed, *, beta: bool) -> list[ServerEvent]:
    item, previous = Item(id=told.item_id), told.previous_item_id
    committed = BufferCommitted(item_id=told.item_id, previous_item_id=previous)
    if beta:
        return [committed, BetaItemCreated(item=item, previous_item_id=previous)]
    return [
        committed,
        ItemAdded(item=item, previous_item_id=previous),
        ItemDone(item=item, previous_item_id=previous),
    ]


def _delta(told: Delta, *, logprobs: bool) -> TranscriptDelta:
    return TranscriptDelta(
        item_id=told.item_id, delta=told.text, logprobs=_logprobs(told.tokens, wanted=logprobs)
    )


def _completed(told: Completed, *, logprobs: bool) -> TranscriptCompleted:
    return TranscriptCompleted(
        item_id=told.item_id,
        transcript=told.text,
        usage=token_usage(told.usage),
        languages=() if told.language is None else (Language(code=told.language),),
        logprobs=_logprobs(told.tokens, wanted=logprobs),
    )


def _logprobs(tokens: Sequence[Token], *, wanted: bool) -> tuple[Logprob, ...] | UnsetType:
    return logprobs_of(tokens) if wanted else UNSET


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
