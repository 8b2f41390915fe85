"""What a live session tells, in order. Frozen structs; times in seconds from the session's start."""

from __future__ import annotations

import msgspec

from lithophone.backends.base import Token
from lithophone.engine.transcript import Usage
from lithophone.errors import ServiceError
from lithophone.granite.words import Word


class SpeechStarted(msgspec.Struct, frozen=True):
    """A turn of speech has begun; the padding before it is counted in."""

    item_id: str
    start_seconds: float


class SpeechStopped(msgspec.Struct, frozen=True):
    """It is over; the silence that ended it is counted in."""

    item_id: str
    stop_seconds: float


class Committed(msgspec.Struct, frozen=True):
    """The audio of an item is whole. `previous_item_id` is that of the item committed before; None for the first."""

    item_id: str
    previous_item_id: str | None


class Cleared(msgspec.Struct, frozen=True):
    """Audio that was not committed is forgotten."""


class NothingToCommit(msgspec.Struct, frozen=True):
    """A commit found no audio."""


class Delta(msgspec.Struct, frozen=True):
    """More words of an item. They stand: the deltas of an item joined are its text."""

    item_id: str
    text: str
    words: tuple[Word, ...]
    tokens: tuple[Token, ...]


class Completed(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was said in an item; `language` is an ISO-639-1 code, None where there is nothing to tell it by."""

    item_id: str
    text: str
    tokens: tuple[Token, ...]
    usage: Usage
    duration_seconds: float
    language: str | None = None


class Failed(msgspec.Struct, frozen=True):
    """An item cannot be transcribed."""

    item_id: str
    error: ServiceError


DictationEvent = (
    SpeechStarted | SpeechStopped | Committed | Cleared | NothingToCommit | Delta | Completed | Failed
)
