"""How many replicas a model should have. Pure arithmetic; Ray Serve's controller calls `wanted` with what it knows.

Serve itself waits before it follows: `upscale_delay_s` and `downscale_delay_s` of the deployment.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

QUEUED_METRIC: Final = "queued_audio_seconds"
"""What each replica reports: audio that waits there or is at work."""


class ScalingContext(Protocol):
    """The part of Ray Serve's `AutoscalingContext` that is read here."""

    current_num_replicas: int

    @property
    def total_queued_requests(self) -> float:
        """Calls that no replica has yet."""
        ...

    @property
    def aggregated_metrics(self) -> Mapping[str, Mapping[Any, float]] | None:
        """What replicas report, by metric and replica."""
        ...


def replicas_for(queued_seconds: Iterable[float], target_seconds: float) -> int:
    """Replicas at which each would have no more than `target_seconds` of the audio that all have now."""
    return math.ceil(sum(queued_seconds) / target_seconds)


class QueuedAudio:
    """Ray Serve's policy: so many replicas that none has more than a number of seconds of audio before it.

    Windows that have found no replica yet count as a wish for one more, since their length is not known.
    """

    def __init__(self, *, target_seconds: float) -> None:
        self._target_seconds = target_seconds

    def __call__(self, context: ScalingContext) -> tuple[int, dict[str, Any]]:
        """The replicas that there should be, and nothing to remember."""
        queued = (context.aggregated_metrics or {}).get(QUEUED_METRIC, {})
        wanted = replicas_for(queued.values(), self._target_seconds)
        if context.total_queued_requests > 0:
            wanted = max(wanted, context.current_num_replicas + 1)
        return wanted, {}
