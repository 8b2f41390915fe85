"""Whether a CAF file was written before its length was known. Pure.

Source: Apple's "Core Audio Format Specification 1.0".
"""

from __future__ import annotations

import struct
from typing import Final

from lithophone.audio.stream import ReadAt

FILE_HEADER_BYTES: Final = 8
CHUNK_HEADER = struct.Struct(">4sq")
MAX_CHUNKS: Final = 32
UNKNOWN_BYTES: Final = -1


def is_endless(read_at: ReadAt) -> bool:
    """Whether its data chunk goes on to the end of the file, wherever that is."""
    at = FILE_HEADER_BYTES
    for _ in range(MAX_CHUNKS):
        header = read_at(at, CHUNK_HEADER.size)
        if len(header) < CHUNK_HEADER.size:
            return False
        name, size = CHUNK_HEADER.unpack(header)
        if name == b"data" or size < 0:
            return name == b"data" and size == UNKNOWN_BYTES
        at += CHUNK_HEADER.size + size
    return False
