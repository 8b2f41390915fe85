"""What a model has done since the server started: counts for whoever watches over it.

Owns the counting. Knows no format in which it is shown.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from lithophone.backends.base import Recognition, RecognitionRequest
from lithophone.worker.messages import Cause

BOUNDS_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Up to which durations are counted together: a window takes milliseconds on a GPU, and minutes on a busy CPU."""


class Distribution:
    """How often a duration was how long."""

    def __init__(self) -> None:
        self.sum_seconds = 0.0
        self._counts = [0] * (len(BOUNDS_SECONDS) + 1)

    def add(self, seconds: float) -> None:
        """One more."""
        self.sum_seconds += seconds
        self._counts[bisect_left(BOUNDS_SECONDS, seconds)] += 1

    def up_to(self) -> list[tuple[float, int]]:
        """For each bound, and at last for infinity, how many were no longer."""
        bounds = (*BOUNDS_SECONDS, float("inf"))
        return [(bound, sum(self._counts[: index + 1])) for index, bound in enumerate(bounds)]


@dataclass(slots=True)
class Tally:
    """Of one model.

    Attributes:
        loads: How often it was loaded.
        load_seconds: What that took altogether, warm-up included.
        failed_loads: How often that failed.
        restarts: How often its worker ended by itself.
        windows: Windows it recognised.
        audio_seconds: Their length together; one that was tried twice counts twice.
        tokens: What it wrote in them.
        passes: Passes of the language model that they took part in.
        drafted_tokens: Guesses it was asked to confirm.
        accepted_tokens: Guesses it confirmed.
        failures: Windows that failed, by why.
        waited: From the moment a window was sent to the one it joined the batch.
        recognised: From there to its text.
    """

    loads: int = 0
    load_seconds: float = 0.0
    failed_loads: int = 0
    restarts: int = 0
    windows: int = 0
    audio_seconds: float = 0.0
    tokens: int = 0
    passes: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    failures: Counter[Cause] = field(default_factory=Counter[Cause])
    waited: Distribution = field(default_factory=Distribution)
    recognised: Distribution = field(default_factory=Distribution)

    def add(self, request: RecognitionRequest, recognition: Recognition, seconds: float) -> None:
        """One more window, recognised in so many seconds."""
        self.windows += 1
        self.audio_seconds += request.seconds
        self.tokens += len(recognition.tokens)
        self.passes += recognition.passes
        self.drafted_tokens += recognition.drafted_tokens
        self.accepted_tokens += recognition.accepted_tokens
        self.recognised.add(seconds)
