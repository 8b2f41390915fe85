"""Where decoded sound belongs on the file's clock.

Owns what becomes of gaps and overlaps. Pure; counts samples at 16 kHz.

A packet that comes late leaves a gap, which is silence. A packet that comes early, because the clock of the file is slower
than its samples or steps back, keeps its sound: what is said is worth more than a tenth of a second. Its time is made good
later, by leaving out packets that are quiet. Where a clock is off by more than a second it is not believed, and runs on
from here.
"""

from __future__ import annotations

from typing import Final

from lithophone.audio.waveform import samples_from_seconds

TOLERANCE_SAMPLES: Final = samples_from_seconds(0.1)  # clocks of containers jitter, and round to milliseconds
RESTART_SAMPLES: Final = samples_from_seconds(1.0)
NOTED_SAMPLES: Final = samples_from_seconds(0.25)  # a shorter gap is no news


class Timeline:
    """The samples laid out so far, by one source of packets after the other.

    Attributes:
        end_samples: where the next packet goes unless its time says otherwise.
        gap_samples: what was missing between packets, where that was a quarter of a second or more.
    """

    def __init__(self) -> None:
        self.end_samples = 0
        self.gap_samples = 0
        self._zero_samples = 0
        self._has_packets = False

    def begin(self, zero_seconds: float) -> None:
        """The next packets come from another source: what is at `zero_seconds` of its clock follows what is laid out."""
        self._zero_samples = self.end_samples - samples_from_seconds(zero_seconds)
        self._has_packets = False

    @property
    def is_empty(self) -> bool:
        """Nothing came from the source begun last."""
        return not self._has_packets

    def silence_before(self, start_seconds: float) -> int:
        """Samples of silence that belong in front of a packet.

        In front of the first packet the silence is exact; later, a packet may be a tenth of a second off.
        """
        late = self._late(start_seconds)
        if not self._has_packets:
            return max(0, late)
        return late if late > TOLERANCE_SAMPLES else 0

    def is_past(self, start_seconds: float, samples: int) -> bool:
        """Whether all of a packet belongs where others already are, beyond what clocks jitter."""
        late = self._late(start_seconds)
        return late < -TOLERANCE_SAMPLES and late <= -samples

    def add_silence(self, samples: int) -> None:
        """Lays out silence."""
        if self._has_packets and samples >= NOTED_SAMPLES:
            self.gap_samples += samples
        self.end_samples += samples

    def add(self, samples: int) -> None:
        """Lays out a packet."""
        self._has_packets = True
        self.end_samples += samples

    def _late(self, start_seconds: float) -> int:
        late = self._zero_samples + samples_from_seconds(start_seconds) - self.end_samples
        if late >= -RESTART_SAMPLES:
            return late
        self._zero_samples -= late
        return 0
