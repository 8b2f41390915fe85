"""Any number of channels to one, without losing a voice.

Owns how channels become mono PCM16. Pure; knows no format.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lithophone.audio.waveform import PCM16_SCALE, SAMPLE_RATE, Waveform

Frames = NDArray[np.float32]
"""float32 [samples, channels], full scale 1."""

PIECE_SAMPLES: Final = SAMPLE_RATE  # channels are compared second by second
FAR_QUIETER: Final = 0.01  # of the energy: 20 dB
NEARLY_AS_LOUD: Final = 0.5  # of the energy: 3 dB


def pcm16_from_channels(frames: Frames) -> bytes:
    """Mono PCM16: the mean of the channels, or one of them where they cancel each other.

    Where the mean is more than 20 dB below the loudest channel, for a second, that channel is taken, or the first that is
    nearly as loud: the halves of anti-phase stereo, or one microphone of many.
    """
    if frames.shape[1] == 1:
        return _pcm16(frames[:, 0])
    return b"".join(_pcm16(_mixed(piece)) for piece in _pieces(frames))


def _pieces(frames: Frames) -> Iterator[Frames]:
    return (frames[start : start + PIECE_SAMPLES] for start in range(0, len(frames), PIECE_SAMPLES))


def _mixed(frames: Frames) -> Waveform:
    channels = np.ascontiguousarray(
        frames.T
    )  # [channels, samples]: to add whole channels is many times faster
    with np.errstate(invalid="ignore", over="ignore"):  # infinities of both signs, in a file of noise
        mean = channels.sum(axis=0) * np.float32(1 / len(channels))
        energies = np.array([np.dot(channel, channel) for channel in channels])
        loudest = float(energies.max())
        if not np.dot(mean, mean) < FAR_QUIETER * loudest < np.inf:
            return mean
    return channels[int(np.argmax(energies >= NEARLY_AS_LOUD * loudest))]


def _pcm16(samples: Waveform) -> bytes:
    """Whole numbers of 16 bits, clipped. What 32 bits cannot hold becomes the least one, as the processor has it."""
    with np.errstate(invalid="ignore", over="ignore"):
        scaled: Waveform = np.multiply(samples, PCM16_SCALE, dtype=np.float32)
    np.rint(scaled, out=scaled)
    held = np.abs(scaled) < np.float32(2.0**31)
    scaled[~held] = -PCM16_SCALE
    np.clip(scaled, -PCM16_SCALE, PCM16_SCALE - 1, out=scaled)
    return scaled.astype("<i2").tobytes()
