"""What a model has done since the server started: counts for whoever watches over it.

Owns the counting. Knows no format in which it is shown.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from lithophone.backends.base import RecognitionRequest
from lithophone.worker.messages import Cause, Course, Recognised

BOUNDS_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Up to which durations are counted together: a window takes milliseconds on a GPU, and minutes on a busy CPU."""


BATCH_BOUNDS: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
"""Windows in a batch."""

PACE_BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Seconds of work for a second of audio; above 1 the model is slower than speech."""


class Distribution:
    """How often something was how large.

    Args:
        bounds: Up to which values are counted together; durations in seconds unless told.

    Attributes:
        total: The sum of all values.
    """

    def __init__(self, bounds: Sequence[float] = BOUNDS_SECONDS) -> None:
        self.total = 0.0
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)

    def add(self, value: float) -> None:
        """One more."""
        self.total += value
        self._counts[bisect_left(self._bounds, value)] += 1

    def up_to(self) -> list[tuple[float, int]]:
        """For each bound, and at last for infinity, how many were no larger."""
        bounds = (*self._bounds, float("inf"))
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
        paces: The same for each second of its audio.
        heard: What the encoder took, for all windows that it heard together.
        decoded: From there to the window's last token.
        answered: From there to its words and their times.
        batches: Windows in the batch, each time that some joined.
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
    heard: Distribution = field(default_factory=Distribution)
    decoded: Distribution = field(default_factory=Distribution)
    answered: Distribution = field(default_factory=Distribution)
    paces: Distribution = field(default_factory=lambda: Distribution(PACE_BOUNDS))
    batches: Distribution = field(default_factory=lambda: Distribution(BATCH_BOUNDS))

    def add(self, request: RecognitionRequest, recognised: Recognised) -> None:
        """One more window."""
        recognition, seconds = recognised.recognition, recognised.seconds
        self.windows += 1
        self.audio_seconds += request.seconds
        self.tokens += len(recognition.tokens)
        self.passes += recognition.passes
        self.drafted_tokens += recognition.drafted_tokens
        self.accepted_tokens += recognition.accepted_tokens
        self.recognised.add(seconds)
        if request.seconds:
            self.paces.add(seconds / request.seconds)
        if recognised.course is not None:
            self._add_stages(recognised.course)

    def _add_stages(self, course: Course) -> None:
        self.heard.add(course.decoding - course.hearing)
        self.decoded.add(course.answering - course.decoding)
        self.answered.add(course.answered - course.answering)
