"""Clips: short pieces of sound held by `pydub.AudioSegment`.

Owns slicing and gain of decoded audio; the only module that imports pydub.
Never uses pydub's `from_file`, which runs an ffmpeg of its own without limits: files come in through `decode`.
pydub is only partly typed, hence the pyright exceptions.
"""

from __future__ import annotations

import warnings
from typing import Self, cast

import msgspec

from lithophone.audio.waveform import (
    SAMPLE_BYTES,
    SAMPLE_RATE,
    Waveform,
    pcm16_from_waveform,
    samples_in_pcm16,
    seconds_from_samples,
    waveform_from_pcm16,
)

with warnings.catch_warnings():
    # Old regular expressions, the audioop module, no ffmpeg on the PATH: none of it concerns a caller.
    warnings.simplefilter("ignore")
    from pydub import AudioSegment  # pyright: ignore[reportMissingTypeStubs]

TARGET_DBFS = -20.0  # RMS of ordinary recorded speech
MAX_GAIN_DB = 30.0  # beyond this one amplifies the room, not the speaker
PEAK_DBFS = -1.0


class Clip(msgspec.Struct, frozen=True, eq=False):
    """A 16 kHz mono PCM16 clip. Methods return new clips; none changes its own."""

    segment: AudioSegment

    @classmethod
    def from_pcm16(cls, pcm: bytes) -> Self:
        """A clip of signed 16-bit little-endian mono samples at 16 kHz.

        Raises:
            ValueError: the bytes end within a sample.
        """
        if len(pcm) % SAMPLE_BYTES:
            raise ValueError(f"{len(pcm)} bytes are no whole number of 16-bit samples")
        return cls(AudioSegment(pcm, sample_width=SAMPLE_BYTES, frame_rate=SAMPLE_RATE, channels=1))

    @classmethod
    def from_waveform(cls, waveform: Waveform) -> Self:
        """A clip of float32 [samples], rounded to 16 bit."""
        return cls.from_pcm16(pcm16_from_waveform(waveform))

    @property
    def pcm16(self) -> bytes:
        """Signed 16-bit little-endian samples."""
        return cast("bytes", self.segment.raw_data)  # pyright: ignore[reportUnknownMemberType]

    @property
    def waveform(self) -> Waveform:
        """float32 [samples] in [-1, 1)."""
        return waveform_from_pcm16(self.pcm16)

    @property
    def sample_count(self) -> int:
        """How many samples the clip holds."""
        return samples_in_pcm16(len(self.pcm16))

    @property
    def duration_seconds(self) -> float:
        """How long the clip lasts."""
        return seconds_from_samples(self.sample_count)

    @property
    def dbfs(self) -> float:
        """RMS level in dB below full scale; minus infinity for digital silence."""
        return float(self.segment.dBFS)

    def cut(self, start_sample: int, stop_sample: int) -> Clip:
        """The samples from `start_sample` up to and without `stop_sample`, like a slice of non-negative bounds.

        Raises:
            ValueError: the bounds are negative or reversed.
        """
        if not 0 <= start_sample <= stop_sample:
            raise ValueError(f"no clip from sample {start_sample} to {stop_sample}")
        return Clip.from_pcm16(self.pcm16[start_sample * SAMPLE_BYTES : stop_sample * SAMPLE_BYTES])

    def normalised(self, *, target_dbfs: float = TARGET_DBFS, max_gain_db: float = MAX_GAIN_DB) -> Clip:
        """The clip with its RMS level moved toward `target_dbfs`.

        Amplification stops at `max_gain_db` and where the peak would pass -1 dBFS, so nothing clips that did not
        before. Digital silence stays as it is.
        """
        if self.segment.max == 0:
            return self
        headroom_db = max(0.0, PEAK_DBFS - float(self.segment.max_dBFS))
        gain_db = min(target_dbfs - self.dbfs, max_gain_db, headroom_db)
        return Clip(self.segment.apply_gain(gain_db))  # pyright: ignore[reportUnknownMemberType]
