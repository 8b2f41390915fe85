"""How long a recording is about, told by its size before anything is decoded.

Owns the guess that places are counted by. It may be wrong by a factor: what was answered is counted as it is.
"""

from __future__ import annotations

import os
import struct
from typing import Final

from lithophone.audio.sniff import HEAD_BYTES, Container, sniff_container
from lithophone.errors import ServiceError

COMPRESSED_BYTES_PER_SECOND: Final = (
    8_000  # 64 kbit/s: between speech in opus (24) and music in mp3 (128 and more)
)
LOSSLESS_BYTES_PER_SECOND: Final = 64_000  # flac of 44.1 kHz mono, or half of that uncompressed
LOSSLESS: Final = frozenset(
    (
        Container.FLAC,
        Container.AIFF,
        Container.CAF,
        Container.AU,
        Container.W64,
        Container.WAVPACK,
        Container.APE,
        Container.TTA,
        Container.SPHERE,
    )
)
WAV_BYTE_RATE_AT: Final = 28  # in a file whose first chunk is `fmt `


def guess_seconds(descriptor: int) -> float:
    """About how many seconds of audio an open file holds; 0 for what is no audio."""
    size_bytes = os.fstat(descriptor).st_size
    head = os.pread(descriptor, HEAD_BYTES, 0)
    try:
        container = sniff_container(head, after_tags=False)
    except ServiceError:
        return 0.0
    return size_bytes / _bytes_per_second(container, head)


def _bytes_per_second(container: Container, head: bytes) -> int:
    if container in LOSSLESS:
        return LOSSLESS_BYTES_PER_SECOND
    if container is Container.WAV and head[12:16] == b"fmt " and len(head) >= WAV_BYTE_RATE_AT + 4:
        (stated,) = struct.unpack_from("<I", head, WAV_BYTE_RATE_AT)
        return max(stated, COMPRESSED_BYTES_PER_SECOND // 8)
    return COMPRESSED_BYTES_PER_SECOND
