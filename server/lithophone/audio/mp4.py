"""Boxes of an MP4 or QuickTime file, as far as they tell of time (ISO 14496-12).

Owns two questions that ffmpeg's report leaves open: whether the file is made of fragments, and where the edit list of a
track leaves a hole. ffmpeg follows edit lists, but for holes after the first edit: there it plays the beginning again.
Pure; reads headers, not samples.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from lithophone.audio.stream import ReadAt

MAX_BOXES: Final = 4_096  # of one file; real ones have some dozens per track
MAX_EDITS: Final = 4_096  # of one track
EMPTY_EDIT: Final = -1


class Span(NamedTuple):
    """A stretch of the presentation, in seconds."""

    start_seconds: float
    stop_seconds: float


class _Box(NamedTuple):
    """A box, and where its content starts and stops."""

    kind: bytes
    start: int
    stop: int


class Mp4:
    """An open file. Damaged boxes are as good as absent ones."""

    def __init__(self, read_at: ReadAt, file_bytes: int) -> None:
        self._read_at = read_at
        self._whole = _Box(b"", 0, file_bytes)
        self._boxes_left = MAX_BOXES

    def has_fragments(self) -> bool:
        """Whether there are `moof` boxes: the parts of a stream rather than a file."""
        return any(box.kind == b"moof" for box in self._inside(self._whole))

    def holes(self, audio_number: int) -> tuple[Span, ...]:
        """Where the audio track of that number, counted from 0, is silent by its edit list, after its first edit."""
        movie = self._first(self._whole, b"moov")
        header = movie and self._first(movie, b"mvhd")
        if movie is None or header is None:
            return ()
        tracks = [box for box in self._inside(movie) if box.kind == b"trak" and self._is_audio(box)]
        edits = self._first(tracks[audio_number], b"edts", b"elst") if audio_number < len(tracks) else None
        return () if edits is None else tuple(self._holes(edits, self._ticks_per_second(header)))

    def _is_audio(self, track: _Box) -> bool:
        handler = self._first(track, b"mdia", b"hdlr")
        return handler is not None and self._read_at(handler.start + 8, 4) == b"soun"

    def _ticks_per_second(self, header: _Box) -> int:
        content = self._read_at(header.start, 24)
        at = 20 if content[:1] == b"\1" else 12
        return int.from_bytes(content[at : at + 4], "big")

    def _holes(self, edits: _Box, ticks_per_second: int) -> Iterator[Span]:
        content = self._read_at(edits.start, min(edits.stop - edits.start, 8 + 20 * MAX_EDITS))
        entry = struct.Struct(">QqI" if content[:1] == b"\1" else ">IiI")
        count = min(int.from_bytes(content[4:8], "big"), (len(content) - 8) // entry.size)
        ticks = 0
        for number in range(count if ticks_per_second else 0):
            duration, media_time, _ = entry.unpack_from(content, 8 + number * entry.size)
            if number and media_time == EMPTY_EDIT:
                yield Span(ticks / ticks_per_second, (ticks + duration) / ticks_per_second)
            ticks += duration

    def _first(self, box: _Box, *path: bytes) -> _Box | None:
        """The first box of that path within another one."""
        found: _Box | None = box
        for kind in path:
            found = found and next((inner for inner in self._inside(found) if inner.kind == kind), None)
        return found

    def _inside(self, box: _Box) -> Iterator[_Box]:
        at = box.start
        while at + 8 <= box.stop and self._boxes_left:
            self._boxes_left -= 1
            header = self._read_at(at, 16)
            size, start = int.from_bytes(header[:4], "big"), at + 8
            if size == 1:
                size, start = int.from_bytes(header[8:], "big"), at + 16
            stop = min(at + size, box.stop) if size else box.stop  # 0: up to the end
            if stop < start:
                return
            yield _Box(header[4:8], start, stop)
            at = stop
