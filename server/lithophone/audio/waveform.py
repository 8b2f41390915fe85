"""The one sound format inside Lithophone: 16 kHz, one channel, and the arithmetic around it.

Owns the sample rate, the two representations (PCM16 bytes and float32 arrays) and seconds to samples.
Knows nothing of files, windows or models.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000  # Hz; what every Granite Speech model listens to
SAMPLE_BYTES = 2  # signed 16 bit, little endian
PCM16_SCALE = 32_768  # 2**15; full scale of a signed 16-bit sample

Waveform = NDArray[np.float32]
"""float32 [samples], mono, 16 kHz, in [-1, 1)."""


def waveform_from_pcm16(pcm: bytes | bytearray | memoryview) -> Waveform:
    """Floats of raw PCM: each sample divided by 32768, which float32 holds exactly.

    Args:
        pcm: signed 16-bit little-endian mono samples.

    Returns:
        float32 [samples] in [-1, 1).

    Raises:
        ValueError: the bytes end within a sample.
    """
    if len(pcm) % SAMPLE_BYTES:
        raise ValueError(f"{len(pcm)} bytes are no whole number of 16-bit samples")
    waveform = np.frombuffer(pcm, dtype="<i2").astype(np.float32)
    waveform /= PCM16_SCALE
    return waveform


def pcm16_from_waveform(waveform: Waveform) -> bytes:
    """Raw PCM of floats: the inverse of `waveform_from_pcm16`; what lies outside [-1, 1) is clipped.

    Args:
        waveform: float [samples], mono, finite.

    Returns:
        Signed 16-bit little-endian samples, two bytes each.
    """
    scaled = np.rint(waveform.astype(np.float64) * PCM16_SCALE)
    return np.clip(scaled, -PCM16_SCALE, PCM16_SCALE - 1).astype("<i2").tobytes()


def samples_from_seconds(seconds: float) -> int:
    """The nearest whole number of samples."""
    return round(seconds * SAMPLE_RATE)


def seconds_from_samples(samples: int) -> float:
    """How long `samples` last."""
    return samples / SAMPLE_RATE


def samples_in_pcm16(byte_count: int) -> int:
    """Whole samples in `byte_count` bytes of PCM16."""
    return byte_count // SAMPLE_BYTES
