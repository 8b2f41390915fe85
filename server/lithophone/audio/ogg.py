"""Ogg files: where their links begin, and whether the last page is whole.

Owns the reading of page headers (RFC 3533, section 6). Pure.

A chained file is several streams one after the other. ffmpeg follows the chain as long as the links are of one kind.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from lithophone.audio.stream import ReadAt

MAGIC: Final = b"OggS"
HEADER_BYTES: Final = 27
LONGEST_PAGE_BYTES: Final = 65_307
HEAD_BYTES: Final = 64  # of a stream's first packet: the identification header of every codec
FIRST_OF_STREAM: Final = 0x02


class _Page(NamedTuple):
    """Where a page is, how long, whether a stream begins with it, and the first bytes of what it holds."""

    start: int
    byte_count: int
    begins_stream: bool
    head: bytes


def next_link(read_at: ReadAt, file_bytes: int, link_start: int) -> int | None:
    """Where the first link begins that is of another kind than the one at `link_start`; None if there is none."""
    kind: tuple[bytes, ...] | None = None
    for start, heads in _links(read_at, file_bytes, link_start):
        found = tuple(_kind(head) for head in heads)
        kind = kind or found
        if found != kind:
            return start
    return None


def ends_within_page(read_at: ReadAt, file_bytes: int) -> bool:
    """Whether the file was cut in the middle of its last page."""
    tail_start = max(0, file_bytes - 2 * LONGEST_PAGE_BYTES)
    tail = read_at(tail_start, 2 * LONGEST_PAGE_BYTES)
    at = tail.rfind(MAGIC)
    page = _page(tail[at : at + HEADER_BYTES + 255], tail_start + at) if at >= 0 else None
    return at >= 0 and (page is None or page.start + page.byte_count > file_bytes)


def _links(read_at: ReadAt, file_bytes: int, start: int) -> Iterator[tuple[int, list[bytes]]]:
    """Where each link begins, and the heads of its streams: their first pages stand together in front."""
    link_start, heads = start, list[bytes]()
    within = False
    for page in _pages(read_at, file_bytes, start):
        if page.begins_stream and within:
            yield link_start, heads
            link_start, heads, within = page.start, [], False
        if page.begins_stream:
            heads.append(page.head)
        else:
            within = True
    yield link_start, heads


def _pages(read_at: ReadAt, file_bytes: int, start: int) -> Iterator[_Page]:
    """Every page from `start` on; what is none is skipped."""
    at = start
    while at + HEADER_BYTES <= file_bytes:
        page = _page(read_at(at, HEADER_BYTES + 255 + HEAD_BYTES), at)
        if page is not None:
            yield page
            at += page.byte_count
        else:
            skipped = read_at(at + 1, LONGEST_PAGE_BYTES)
            found = skipped.find(MAGIC)
            at += 1 + (found if found >= 0 else max(1, len(skipped) - len(MAGIC)))


def _page(content: bytes, start: int) -> _Page | None:
    if len(content) < HEADER_BYTES or not content.startswith(MAGIC):
        return None
    body = HEADER_BYTES + content[26]
    if len(content) < body:
        return None
    byte_count = body + sum(content[HEADER_BYTES:body])
    begins = bool(content[5] & FIRST_OF_STREAM)
    return _Page(start, byte_count, begins, content[body : body + HEAD_BYTES])


def _kind(head: bytes) -> bytes:
    """What must not change for ffmpeg to follow: the codec; of Opus the channels, of Vorbis and Speex the rate as well."""
    if head.startswith(b"OpusHead"):
        return head[:8] + head[9:10]
    if head.startswith(b"\x01vorbis"):
        return head[:7] + head[11:16]
    if head.startswith(b"Speex   "):
        return head[:8] + head[36:40] + head[48:52]
    return head[:8]
