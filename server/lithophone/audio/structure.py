"""How many boxes, elements and tracks a file is made of, counted before a decoder sees it.

Owns the bounds of MP4's boxes and Matroska's elements, which may stand within each other to any depth; of other containers
ffmpeg counts the streams (`ffmpeg.MAX_STREAMS`). Pure; reads heads, not samples.

Sources: ISO 14496-12 for boxes, RFC 8794 and RFC 9559 for elements.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from lithophone.audio.sniff import Container
from lithophone.audio.stream import ReadAt
from lithophone.errors import UndecodableAudioError

MAX_PARTS: Final = 200_000  # hours of short fragments have as many
MAX_DEPTH: Final = 10  # ffmpeg goes no deeper either
MAX_TRACKS: Final = 64

HOLDING_BOXES: Final = frozenset(
    (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"dinf", b"edts", b"udta", b"mvex")
)
SEGMENT: Final = 0x18538067
HOLDING_ELEMENTS: Final = frozenset(
    (
        SEGMENT,
        0x1654AE6B,
        0xAE,
        0xE0,
        0xE1,
        0x6D80,
        0x6240,
        0x1254C367,
        0x7373,
        0x67C8,
        0x1043A770,
        0x45B9,
        0xB6,
    )
)  # tracks and what is in them, tags, chapters
TRACK_ELEMENT: Final = 0xAE
LONGEST_HEAD_BYTES: Final = 16


class Part(NamedTuple):
    """A box or an element: what is in it lies between `start` and `stop`, where the next one begins."""

    start: int
    stop: int
    holds_parts: bool = False
    is_track: bool = False


PartAt = Callable[[bytes, int, int], Part | None]
"""The part whose head these bytes are, which begins at the first number and may go on to the second."""


def require_bounded(container: Container, read_at: ReadAt, file_bytes: int) -> None:
    """Raises if a file is made of more parts than a recording has. Damaged parts are as good as absent ones.

    Raises:
        UndecodableAudioError: too many boxes, elements or tracks, or too deep.
    """
    part_at = {Container.MP4: _box_at, Container.MATROSKA: _element_at}.get(container)
    if part_at is None:
        return
    tracks = 0
    for count, (part, depth) in enumerate(_parts(part_at, read_at, file_bytes), 1):
        tracks += part.is_track
        if count > MAX_PARTS or tracks > MAX_TRACKS or depth > MAX_DEPTH:
            raise UndecodableAudioError("The file is made of too many parts or tracks.", param="file")


def _parts(part_at: PartAt, read_at: ReadAt, file_bytes: int) -> Iterator[tuple[Part, int]]:
    """All parts but those within what holds samples, each with its depth."""
    unread = [(0, file_bytes)]  # where the next part of each level begins, and where that level ends
    while unread:
        at, stop = unread.pop()
        part = part_at(read_at(at, LONGEST_HEAD_BYTES), at, stop)
        if part is None:
            continue
        yield part, len(unread)
        unread.append((part.stop, stop))
        if part.holds_parts:
            unread.append((part.start, part.stop))


def _box_at(head: bytes, at: int, stop: int) -> Part | None:
    size, kind, start = int.from_bytes(head[:4]), head[4:8], at + 8
    if size == 1:
        size, start = int.from_bytes(head[8:16]), at + 16
    end = min(at + size, stop) if size else stop  # 0: up to the end
    if len(head) < 8 or at >= stop or end < start:
        return None
    return Part(start, end, kind in HOLDING_BOXES, kind == b"trak")


def _element_at(head: bytes, at: int, stop: int) -> Part | None:
    identity_bytes = _number_bytes(head, 0, 4)
    size_bytes = _number_bytes(head, identity_bytes, 8)
    if at >= stop or not identity_bytes or not size_bytes:
        return None
    start = at + identity_bytes + size_bytes
    identity = int.from_bytes(head[:identity_bytes])
    ones = (1 << 7 * size_bytes) - 1
    size = int.from_bytes(head[identity_bytes : identity_bytes + size_bytes]) & ones
    end = stop if size == ones else min(start + size, stop)  # all ones: of unknown length
    return Part(start, end, identity in HOLDING_ELEMENTS, identity == TRACK_ELEMENT)


def _number_bytes(head: bytes, at: int, most: int) -> int:
    """The length of a variable-size number, which the zeros in front of its first one tell; 0 if there is none."""
    length = 9 - head[at].bit_length() if at < len(head) else most + 1
    return length if length <= most and at + length <= len(head) else 0
