"""Audio that a live session is sent: bytes of one of the wire's formats in, samples at 16 kHz out, as they come.

Owns the decoding of G.711 and the resampling, which is soxr's. Nothing is lost between two pieces, and the samples given
are as long as the bytes taken, to the sample, wherever the audio is cut.
"""

from __future__ import annotations

import warnings
from enum import Enum
from typing import Final

import msgspec
import numpy as np
import soxr  # pyright: ignore[reportMissingTypeStubs] - it has annotations, but no py.typed

from lithophone.audio.waveform import SAMPLE_BYTES, SAMPLE_RATE, Waveform, waveform_from_pcm16

with warnings.catch_warnings():
    # Deprecated in 3.11 and 3.12, gone from 3.13 on, where audioop-lts takes its place.
    warnings.simplefilter("ignore", DeprecationWarning)
    import audioop

TELEPHONE_RATE: Final = 8_000
LOWEST_RATE: Final = 4_000
HIGHEST_RATE: Final = 192_000
_NOTHING: Final = np.zeros(0, np.float32)


class Encoding(Enum):
    """How samples are written as bytes."""

    PCM16 = "pcm16"
    """Signed 16 bit, little endian."""

    ULAW = "ulaw"
    """G.711 µ-law, a byte each."""

    ALAW = "alaw"
    """G.711 A-law, a byte each."""


class IncomingFormat(msgspec.Struct, frozen=True):
    """What comes in: mono, `rate` samples a second."""

    encoding: Encoding = Encoding.PCM16
    rate: int = 24_000

    @property
    def sample_bytes(self) -> int:
        """Bytes of a sample."""
        return SAMPLE_BYTES if self.encoding is Encoding.PCM16 else 1


class IncomingAudio:
    """One stream of audio.

    Args:
        incoming: What its bytes mean.
    """

    def __init__(self, incoming: IncomingFormat) -> None:
        self._format = incoming
        self._half = b""
        self._taken = 0
        self._given = 0
        self._resampler = (
            None if incoming.rate == SAMPLE_RATE else soxr.ResampleStream(incoming.rate, SAMPLE_RATE, 1)
        )

    def push(self, data: bytes) -> Waveform:
        """More bytes; returns float32 samples, those of the last hundredths of a second later."""
        return self._resampled(self._decoded(data), last=False)

    def flush(self) -> Waveform:
        """The samples that are still held back; a half sample is lost. What is pushed next is new audio."""
        rest = self._resampled(_NOTHING, last=True)
        if self._resampler is not None:
            self._resampler.clear()
        self._half = b""
        return self._of_length(rest)

    def _of_length(self, rest: Waveform) -> Waveform:
        """As many samples as the audio lasts: where it is cut the resampler rounds, by one at most."""
        lacking = self._taken * SAMPLE_RATE // self._format.rate - self._given
        self._given += lacking
        return np.concatenate([rest, np.zeros(max(0, lacking), np.float32)])[: len(rest) + lacking]

    def _decoded(self, data: bytes) -> Waveform:
        match self._format.encoding:
            case Encoding.ULAW:
                return waveform_from_pcm16(audioop.ulaw2lin(data, SAMPLE_BYTES))
            case Encoding.ALAW:
                return waveform_from_pcm16(audioop.alaw2lin(data, SAMPLE_BYTES))
            case Encoding.PCM16:
                whole = self._half + data
                used = len(whole) // SAMPLE_BYTES * SAMPLE_BYTES
                self._half = whole[used:]
                return waveform_from_pcm16(whole[:used])

    def _resampled(self, samples: Waveform, *, last: bool) -> Waveform:
        self._taken += len(samples)
        given = samples if self._resampler is None else self._resampler.resample_chunk(samples, last=last)
        self._given += len(given)
        return given
