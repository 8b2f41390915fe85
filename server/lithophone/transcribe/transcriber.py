"""Who transcribes a recording, and what he is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO, NamedTuple, Protocol

import msgspec

from lithophone.engine.transcript import Transcript
from lithophone.http.forms import TranscriptionForm, TranslationForm
from lithophone.transcribe.clips import Clips


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for, the same for every recording."""

    form: TranscriptionForm | TranslationForm
    clips: Clips = ()


class Heard(NamedTuple):
    """How far a recording has been heard.

    `of_seconds` is its length, where its container states one; `warnings` say at the end what of it is not in the transcript.
    """

    seconds: float
    of_seconds: float | None = None
    warnings: tuple[str, ...] = ()


class Maker(NamedTuple):
    """The model that answers, and which weights it has, where that is known."""

    model: str
    revision: str | None


class Transcriber(Protocol):
    """A model, wherever it runs."""

    @property
    def maker(self) -> Maker:
        """Who answers."""
        ...

    @property
    def at_once(self) -> int:
        """How many recordings keep it busy."""
        ...

    async def transcribe(self, file: BinaryIO, heard: Callable[[Heard], None]) -> Transcript:
        """The transcript of a file.

        Raises:
            ServiceError: this recording cannot be transcribed.
            OSError: nor read.
            StartupError: no other one will be either.
        """
        ...
