"""Chunks of RIFF files, and the numbers of their formats.

Sources: Microsoft's "Multimedia Programming Interface and Data Specifications 1.0" (RIFF, RIFX, WAVE) and the description of
`WAVEFORMATEXTENSIBLE`. Pure.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, Literal

import msgspec

from lithophone.audio.stream import ReadAt

RIFF_HEADER_BYTES: Final = 12
CHUNK_HEADER_BYTES: Final = 8
MAX_CHUNKS: Final = 32
PCM_TAG: Final = 1
FLOAT_TAG: Final = 3
EXTENSIBLE_TAG: Final = 0xFFFE
# In the GUID of a format, behind its tag.
SUBFORMAT_TAIL: Final = bytes.fromhex("000000001000800000aa00389b71")

ByteOrder = Literal["<", ">"]
"""As `struct` writes it."""


class Chunk(msgspec.Struct, frozen=True):
    """A chunk's name, and where its content is."""

    name: bytes
    start: int
    size: int


def walk_chunks(read_at: ReadAt, file_bytes: int, order: ByteOrder = "<") -> Iterator[Chunk]:
    """The chunks of a file, one more than `MAX_CHUNKS` at most; the last one may be longer than the file."""
    at = RIFF_HEADER_BYTES
    for _ in range(MAX_CHUNKS + 1):
        if at + CHUNK_HEADER_BYTES > file_bytes:
            return
        name, size = struct.unpack(f"{order}4sI", read_at(at, CHUNK_HEADER_BYTES))
        yield Chunk(name, at + CHUNK_HEADER_BYTES, size)
        at += CHUNK_HEADER_BYTES + size + size % 2
