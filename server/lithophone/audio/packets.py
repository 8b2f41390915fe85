"""Packets of PCM with their times, out of the Matroska stream that ffmpeg writes.

Owns the reading of that stream: one track of 32-bit floats, as much of RFC 8794 (EBML) and RFC 9559 (Matroska) as ffmpeg's
muxer uses on a pipe. Raw PCM would not tell where a packet belongs. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import Final, NamedTuple

from lithophone.errors import UndecodableAudioError


class Element(IntEnum):
    """Ids of the elements that matter; all others are skipped."""

    SEGMENT = 0x18538067
    INFO = 0x1549A966
    TIMESTAMP_SCALE = 0x2AD7B1
    TRACKS = 0x1654AE6B
    TRACK_ENTRY = 0xAE
    AUDIO = 0xE1
    CHANNELS = 0x9F
    CLUSTER = 0x1F43B675
    CLUSTER_TIMESTAMP = 0xE7
    SIMPLE_BLOCK = 0xA3
    BLOCK_GROUP = 0xA0
    BLOCK = 0xA1


OPENED: Final = frozenset(
    (
        Element.SEGMENT,
        Element.INFO,
        Element.TRACKS,
        Element.TRACK_ENTRY,
        Element.AUDIO,
        Element.CLUSTER,
        Element.BLOCK_GROUP,
    )
)
BLOCK_HEADER_BYTES: Final = 4  # track number, time within the cluster, flags


class Packet(NamedTuple):
    """PCM float32, channels interleaved, and its time on the clock of the stream."""

    start_seconds: float
    frames: bytes


class _Header(NamedTuple):
    """An element's id, and where its content starts and stops."""

    kind: int
    start: int
    stop: int


class PacketReader:
    """Takes the stream in pieces of any size.

    Attributes:
        channels: of the packets; known before the first one.
    """

    def __init__(self) -> None:
        self.channels = 1
        self._held = bytearray()
        self._tick_seconds = 0.001
        self._cluster_ticks = 0

    def feed(self, piece: bytes) -> list[Packet]:
        """The packets that `piece` completes.

        Raises:
            UndecodableAudioError: this is no Matroska stream.
        """
        self._held += piece
        at = 0
        packets: list[Packet] = []
        while (header := self._header(at)) is not None:
            if header.kind in OPENED:
                at = header.start
                continue
            if header.stop > len(self._held):
                break
            packets.extend(self._read(header.kind, bytes(self._held[header.start : header.stop])))
            at = header.stop
        del self._held[:at]
        return packets

    def _header(self, at: int) -> _Header | None:
        """What is at `at`; None if its header is not complete."""
        kind_bytes = self._number_bytes(at)
        size_bytes = self._number_bytes(at + kind_bytes) if kind_bytes else 0
        start = at + kind_bytes + size_bytes
        if not size_bytes or start > len(self._held):
            return None
        kind = int.from_bytes(self._held[at : at + kind_bytes], "big")
        size = int.from_bytes(self._held[at + kind_bytes : start], "big") & (1 << 7 * size_bytes) - 1
        return _Header(kind, start, start + size)

    def _number_bytes(self, at: int) -> int:
        """Length of the number that starts at `at`, told by its leading zeros; 0 if it is not there yet."""
        if at >= len(self._held):
            return 0
        if not self._held[at]:
            raise UndecodableAudioError("The audio could not be decoded.", param="file")
        return 9 - self._held[at].bit_length()

    def _read(self, kind: int, content: bytes) -> Iterator[Packet]:
        match kind:
            case Element.TIMESTAMP_SCALE:
                self._tick_seconds = int.from_bytes(content, "big") / 1e9
            case Element.CHANNELS:
                self.channels = max(1, int.from_bytes(content, "big"))
            case Element.CLUSTER_TIMESTAMP:
                self._cluster_ticks = int.from_bytes(content, "big")
            case Element.SIMPLE_BLOCK | Element.BLOCK:
                ticks = self._cluster_ticks + int.from_bytes(content[1:3], "big", signed=True)
                yield Packet(ticks * self._tick_seconds, content[BLOCK_HEADER_BYTES:])
            case _:
                pass
