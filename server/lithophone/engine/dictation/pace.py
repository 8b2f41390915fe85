"""How long the steps of live updates must be for this machine to keep up. Pure."""

from __future__ import annotations

from typing import Final

NEWEST_SHARE: Final = 0.3  # of the last update in the running mean of how long they take
SPARE: Final = (
    1.5  # steps are so much longer than updates: other sessions and closed windows want hearing too
)


class Pace:
    """Learns from each update how long the next step has to be at least."""

    def __init__(self) -> None:
        self._update_seconds = 0.0

    @property
    def step_seconds(self) -> float:
        """The shortest step that leaves the machine time."""
        return SPARE * self._update_seconds

    def took(self, seconds: float) -> None:
        """An update was answered after so long."""
        self._update_seconds += NEWEST_SHARE * (seconds - self._update_seconds)
