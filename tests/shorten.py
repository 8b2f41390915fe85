"""Shorten, by which speech corpora compress their SPHERE files and which nothing here writes: samples in Rice codes.

The order of the bits is that of `libavcodec/shorten.c`.
"""

from __future__ import annotations

import numpy as np

VERSION = 2
LITTLE_ENDIAN = 5  # samples of 16 bits with a sign
BLOCK_SAMPLES = 256
SAMPLES, QUIT = 0, 4  # commands; the samples are what they are, not differences
COMMAND_BITS, SIZE_BITS, WIDTH_BITS = 2, 2, 3


def _rice(value: int, low_bits: int) -> str:
    """So many zeros as the upper bits count, a one, the lower bits."""
    return "0" * (value >> low_bits) + f"{1 << low_bits | value & (1 << low_bits) - 1:b}"


def _number(value: int) -> str:
    """A number, its width in front."""
    return _rice(value.bit_length(), SIZE_BITS) + _rice(value, value.bit_length())


def _block(samples: np.ndarray) -> str:
    width = int(np.abs(samples).mean()).bit_length()
    unsigned = (2 * value if value >= 0 else -2 * value - 1 for value in samples.tolist())
    coded = "".join(_rice(value, width + 1) for value in unsigned)
    return _rice(SAMPLES, COMMAND_BITS) + _rice(width, WIDTH_BITS) + coded


def shortened_samples(pcm: bytes) -> bytes:
    """s16le mono, up to a whole block."""
    samples = np.frombuffer(pcm, "<i2").astype(np.int64)
    blocks = np.pad(samples, (0, -len(samples) % BLOCK_SAMPLES)).reshape(-1, BLOCK_SAMPLES)
    head = f"{VERSION:08b}" + "".join(map(_number, (LITTLE_ENDIAN, 1, BLOCK_SAMPLES, 0, 0, 0)))
    bits = head + "".join(map(_block, blocks)) + _rice(QUIT, COMMAND_BITS)
    bits += "0" * (-len(bits) % 32)
    return b"ajkg" + int(bits, 2).to_bytes(len(bits) // 8, "big")
