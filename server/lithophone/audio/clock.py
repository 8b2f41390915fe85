"""What a file's clock has to say beyond the times of its packets.

Owns which time a player shows as zero, and where an edit list leaves holes. Pure.

A broadcast begins at any time of its clock: a player shows the earliest start of all streams as zero. MP4, Matroska and ASF
count from zero, and what begins later begins later; but cuts of a live stream, which have fragments or no stated length,
keep the clock of the broadcast.
"""

from __future__ import annotations

import msgspec

from lithophone.audio.mp4 import Mp4, Span
from lithophone.audio.report import StreamReport
from lithophone.audio.sniff import Container
from lithophone.audio.stream import ReadAt


class Clock(msgspec.Struct, frozen=True, kw_only=True):
    """The clock of one audio track.

    Attributes:
        zero_seconds: what a player shows as zero; None if packets have no times of their own.
        holes: stretches behind that zero that are silent, whatever is decoded.
    """

    zero_seconds: float | None = None
    holes: tuple[Span, ...] = ()


def clock_of(
    container: Container, report: StreamReport, audio_number: int, read_at: ReadAt, file_bytes: int
) -> Clock:
    """The clock of the audio track of that number, counted from 0. Reads the file if it is MP4."""
    start = report.start_seconds
    if not container.has_clock or start is None:
        return Clock()
    if container is Container.MP4:
        file = Mp4(read_at, file_bytes)
        if file.has_fragments():
            return Clock(zero_seconds=start)
        return Clock(zero_seconds=min(0.0, start), holes=file.holes(audio_number))
    if container in {Container.MATROSKA, Container.ASF} and report.stated_seconds is not None:
        return Clock(zero_seconds=min(0.0, start))
    return Clock(zero_seconds=start)
