"""How much audio one pass of the encoder takes in. Pure: no torch, no clock."""

from __future__ import annotations

from typing import Final

from lithophone.audio.waveform import samples_from_seconds

LEAST_SAMPLES: Final = samples_from_seconds(120.0)
"""Always. On CPUs more in one pass is no faster, and takes more memory."""

LONGEST_PASS_SECONDS: Final = 0.06
"""Of a pass over more than that: whoever is being decoded waits meanwhile."""

TAUGHT_SAMPLES: Final = LEAST_SAMPLES // 2
"""A pass over less takes as long as one over more, where it is its start that takes long."""


class HearingPace:
    """Follows the clock, from pass to pass.

    Args:
        most_samples: That a pass may ever take in: what there is memory for.

    Attributes:
        samples: That the next pass may take in.
    """

    def __init__(self, most_samples: int) -> None:
        self._most = max(LEAST_SAMPLES, most_samples)
        self.samples = LEAST_SAMPLES

    def observe(self, samples: int, seconds: float) -> None:
        """Learn that a pass over so many took so long."""
        if samples >= TAUGHT_SAMPLES:
            wanted = samples * LONGEST_PASS_SECONDS / max(seconds, 1e-6)
            self.samples = round(min(max(wanted, LEAST_SAMPLES), self._most))
