"""What a live session is asked for, whoever asks."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import msgspec

from lithophone.audio.voice import TurnOptions
from lithophone.engine.options import JobOptions
from lithophone.granite.family import ModelSpec


class Delay(StrEnum):
    """How long words are held back; the longer, the fewer of them differ from what the whole turn would have given."""

    MINIMAL = "minimal"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    XHIGH = "xhigh"


class CommitPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """When a word that was heard is told.

    Attributes:
        step_seconds: So much new audio, and what is open is heard again.
        agreeing: So many hypotheses in a row must have the word, and all words before it.
        held_back_seconds: The word must end so long before the newest audio.
        doubt_seconds: So much longer, if it or its letters were heard with doubt.
        at_pauses: Hear in pauses alone.
    """

    step_seconds: float
    agreeing: int
    held_back_seconds: float
    doubt_seconds: float = 1.0
    at_pauses: bool = False


POLICIES: Final[Mapping[Delay, CommitPolicy]] = MappingProxyType(
    {
        Delay.MINIMAL: CommitPolicy(step_seconds=0.25, agreeing=2, held_back_seconds=0.0, doubt_seconds=0.5),
        Delay.LOW: CommitPolicy(step_seconds=0.25, agreeing=2, held_back_seconds=0.35, doubt_seconds=0.5),
        Delay.MEDIUM: CommitPolicy(step_seconds=0.25, agreeing=2, held_back_seconds=0.45),
        Delay.HIGH: CommitPolicy(step_seconds=0.5, agreeing=3, held_back_seconds=0.5),
        Delay.XHIGH: CommitPolicy(step_seconds=0.5, agreeing=1, held_back_seconds=0.2, at_pauses=True),
    }
)
"""Chosen by `tests/figures/live_policies.py`, measured by `tests/figures/live.py`; the tables are in docs/realtime.md."""


class Eagerness(StrEnum):
    """How soon a turn ends that may not be finished."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class SemanticTurns(msgspec.Struct, frozen=True):
    """A turn ends soon after words that sound finished, and late after others."""

    eagerness: Eagerness = Eagerness.MEDIUM


FINISHED_SILENCE_SECONDS: Final[Mapping[Eagerness, float]] = MappingProxyType(
    {Eagerness.LOW: 0.8, Eagerness.MEDIUM: 0.5, Eagerness.HIGH: 0.3}
)
UNFINISHED_SILENCE_SECONDS: Final[Mapping[Eagerness, float]] = MappingProxyType(
    {Eagerness.LOW: 8.0, Eagerness.MEDIUM: 4.0, Eagerness.HIGH: 2.0}  # OpenAI's longest waits
)

TurnDetection = TurnOptions | SemanticTurns | None
"""By silence, by what the words sound like, or by the client's commits alone."""


class DictationOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for; the job's own `turns` are not looked at.

    Attributes:
        model_id: The served model that hears.
        spec: What it is.
        turns: What ends a turn.
        delay: How long words are held back.
        job: How each window is heard.
    """

    model_id: str
    spec: ModelSpec
    turns: TurnDetection = TurnOptions(silence_seconds=0.5)
    delay: Delay = Delay.MEDIUM
    job: JobOptions = JobOptions()

    @property
    def voice(self) -> TurnOptions:
        """How speech is told from silence."""
        return self.turns if isinstance(self.turns, TurnOptions) else TurnOptions()

    @property
    def window_job(self) -> JobOptions:
        """How a window that is closed is heard: the voice that began a turn is a voice in its windows."""
        return msgspec.structs.replace(self.job, turns=self.voice, urgent=True)

    def silence_seconds(self, *, finished: bool | None) -> float:
        """The silence that ends a turn whose words sound finished, or not, or were not heard yet; infinite if none does."""
        match self.turns:
            case TurnOptions(silence_seconds=seconds):
                return seconds
            case SemanticTurns(eagerness):
                waits = FINISHED_SILENCE_SECONDS if finished else UNFINISHED_SILENCE_SECONDS
                return waits[eagerness]
            case None:
                return float("inf")
