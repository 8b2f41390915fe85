"""How long a step of the model may take before it is taken for stuck. Pure, but for the clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

LEAST_SECONDS: Final = 30.0
UNKNOWN_PACE_SECONDS: Final = (
    20.0  # for a second of audio, on a machine of which nothing is known: slower than any
)
TIMES_SLOWEST: Final = 20.0  # of what was ever seen here
STEPS_TO_KNOW: Final = 8


class StepWatch:
    """Learns from every step how slow the machine is. Written by the model's thread, read by others."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began: float | None = None
        self._bound = 0.0
        self._joined_seconds = 0.0
        self._slowest_pace = 0.0
        self._steps = 0

    def begin(self, joined_seconds: float, running_seconds: float) -> None:
        """A step begins, with so much new audio and so much in all."""
        known = self._steps >= STEPS_TO_KNOW
        pace = TIMES_SLOWEST * self._slowest_pace if known else UNKNOWN_PACE_SECONDS
        self._joined_seconds = joined_seconds
        self._bound = LEAST_SECONDS + pace * (running_seconds + 1)
        self._began = self._clock()

    def end(self) -> None:
        """The step has ended."""
        pace = self.step_seconds / (self._joined_seconds + 1)
        self._began = None
        self._slowest_pace = max(self._slowest_pace, pace)
        self._steps += 1

    @property
    def step_seconds(self) -> float:
        """How long the step under way has taken; 0 without one."""
        began = self._began
        return 0.0 if began is None else self._clock() - began

    @property
    def is_overdue(self) -> bool:
        """Nobody would wait for this step any longer."""
        return self.step_seconds > self._bound
