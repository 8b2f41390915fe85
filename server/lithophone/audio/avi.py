"""The length that an AVI file states for its sound.

Owns the reading of the stream headers. Packets of an AVI file have no time, and ffmpeg reports only the length of the whole
file: without this, sound that lacks its empty packets would be early and nobody would know. Pure.

Source: Microsoft's "AVI RIFF File Reference".
"""

from __future__ import annotations

import struct
from typing import Final

from lithophone.audio.riff import CHUNK_HEADER_BYTES, RIFF_HEADER_BYTES
from lithophone.audio.stream import ReadAt

MAX_HEADERS: Final = 256
LIST_HEADER_BYTES: Final = 12
UNKNOWN_BYTES: Final = frozenset(
    (0, 2**32 - 1)
)  # of a file that was written to a pipe: its lengths are made up
STREAM_HEADER = struct.Struct("<4s16xIIII")  # type, scale, rate, start, length


def stated_audio_seconds(read_at: ReadAt) -> float | None:
    """Where the only audio stream ends; None if there are several, or none that says."""
    if int.from_bytes(read_at(4, 4), "little") in UNKNOWN_BYTES:
        return None
    ends = _audio_ends(read_at)
    return ends[0] if len(ends) == 1 and ends[0] > 0 else None


def _audio_ends(read_at: ReadAt) -> list[float]:
    at, ends = RIFF_HEADER_BYTES, list[float]()
    for _ in range(MAX_HEADERS):
        header = read_at(at, LIST_HEADER_BYTES)
        if len(header) < LIST_HEADER_BYTES or header[8:] == b"movi":
            break
        name, size = struct.unpack_from("<4sI", header)
        if name == b"LIST" and header[8:] in {b"hdrl", b"strl"}:
            at += LIST_HEADER_BYTES
            continue
        if name == b"strh" and header[8:] == b"auds":
            ends.append(_end_seconds(read_at(at + CHUNK_HEADER_BYTES, STREAM_HEADER.size)))
        at += CHUNK_HEADER_BYTES + size + size % 2
    return ends


def _end_seconds(stream_header: bytes) -> float:
    if len(stream_header) < STREAM_HEADER.size:
        return 0.0
    _, scale, rate, start, length = STREAM_HEADER.unpack(stream_header)
    return (start + length) * scale / rate if rate else 0.0
