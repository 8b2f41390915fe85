"""Windows Media Audio Lossless, which nothing here writes: frames whose samples are not compressed, as the format allows.

The order of the bits is that of `libavcodec/wmalosslessdec.c`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

from lithophone.audio.waveform import SAMPLE_RATE, Waveform, pcm16_from_waveform

FRAME_SAMPLES = 512  # at 16 kHz
PACKET_BYTES = 1_030
LENGTH_BITS = 14  # of a frame's length: 4 more than the packet's size has
WAV_TAG = 0x0163
LENGTHS_ARE_WRITTEN = 0x40
ALIGNED, NO_START_OR_END, CONTINUED, UNCOMPRESSED, NO_ZERO_BITS = "1", "100", "0", "1", "100000"


def _frame(samples: np.ndarray) -> str:
    """The bits of a frame, its length in front; the last two end it, and say that no other one follows."""
    octets = "".join(f"{int(sample) & 0xFFFF:016b}" for sample in samples)
    bits = f"{ALIGNED}{NO_START_OR_END}{CONTINUED}{UNCOMPRESSED}{NO_ZERO_BITS}{octets}00"
    return f"{LENGTH_BITS + len(bits):0{LENGTH_BITS}b}{bits}"


def lossless_packets(waveform: Waveform) -> Iterator[bytes]:
    """Every frame in a packet of its own, which counts to 16 and has nothing of the frame before."""
    samples = np.frombuffer(pcm16_from_waveform(waveform), "<i2")
    frames = np.pad(samples, (0, -len(samples) % FRAME_SAMPLES)).reshape(-1, FRAME_SAMPLES)
    for number, frame in enumerate(frames):
        bits = f"{number % 16:04b}10{0:0{LENGTH_BITS}b}{_frame(frame)}"
        yield int(bits, 2).to_bytes(PACKET_BYTES, "big")


def lossless_form() -> bytes:
    """The `fmt ` chunk: mono, 16 bits, and the 18 bytes that the decoder needs."""
    bytes_per_second = SAMPLE_RATE * PACKET_BYTES // FRAME_SAMPLES
    extension = struct.pack("<HIQHH", 16, 4, 0, LENGTHS_ARE_WRITTEN, 0)
    form = struct.pack("<HHIIHH", WAV_TAG, 1, SAMPLE_RATE, bytes_per_second, PACKET_BYTES, 16)
    return form + struct.pack("<H", len(extension)) + extension
