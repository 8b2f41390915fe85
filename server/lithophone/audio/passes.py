"""Which passes of ffmpeg a file needs.

Owns the order of them. Most files need one. A further one follows where the first shows that another audio track is the
right one or can be decoded, that the channels have no layout, or that a chained Ogg file goes on with another kind of
stream. Starts no process.
"""

from __future__ import annotations

import os
from typing import Final

import msgspec

from lithophone.audio.ffmpeg import Reading
from lithophone.audio.ogg import next_link
from lithophone.audio.report import StreamReport, Track
from lithophone.audio.sniff import Container
from lithophone.audio.tracks import by_preference, choice_made, require_track
from lithophone.errors import ServiceError

MAX_PASSES: Final = 64  # a chain of links that keep changing could ask for any number
MAX_TRACKS: Final = 4  # if none of them can be decoded, nor can the file


class FfmpegSource(msgspec.Struct, frozen=True, kw_only=True):
    """A file for ffmpeg, and what was learned of it before.

    Attributes:
        reading: how its first pass begins.
        stated_seconds: the length of its sound by its header, where ffmpeg does not tell.
        is_cut: it ends where no whole file can.
        is_endless: it was written before its length was known, so it may end within a packet.
        audio_track: counted from 1; without it the best one is found.
    """

    reading: Reading
    stated_seconds: float | None = None
    is_cut: bool = False
    is_endless: bool = False
    audio_track: int | None = None

    def read_at(self, at: int, byte_count: int) -> bytes:
        """So many bytes from an offset; fewer at the end of the file."""
        return os.pread(self.reading.descriptor, byte_count, at)

    @property
    def file_bytes(self) -> int:
        """The size of the file."""
        return os.fstat(self.reading.descriptor).st_size


class PassPlan:
    """What to read next, told by the report of what was read.

    Attributes:
        reading: of the pass that runs.
        track: the audio track it decodes, once it is known.
        warning: what to tell about the choice of the track.
        failure: why nothing can be decoded, of the track that should have been.
    """

    def __init__(self, source: FfmpegSource) -> None:
        self.reading = source.reading
        self.track: Track | None = None
        self.warning: str | None = None
        self.failure: ServiceError | None = None
        self._source = source
        self._passes = 1
        self._untried: list[Track] = []
        self._audio_tracks: list[Track] = []

    @property
    def audio_number(self) -> int:
        """Which of the audio tracks that is, counted from 0."""
        return self._audio_tracks.index(self.track) if self.track is not None else 0

    def choose_track(self, report: StreamReport) -> bool:
        """Takes the right track, told by the description of the file; whether it needs another pass.

        Raises:
            InvalidRequestError: there is no such track as was asked for.
        """
        self._audio_tracks = report.audio_tracks
        asked = self._source.audio_track
        require_track(asked, len(self._audio_tracks))
        if not self._audio_tracks:
            return False
        if asked is None:
            self._untried = by_preference(self._audio_tracks)[:MAX_TRACKS]
            first = self._audio_tracks[0]
        else:
            self._untried = [self._audio_tracks[asked - 1]]
            first = self._untried[0]
        self._take_next_track()
        return self.track is not first or self.reading.every_channel

    def go_on(self, report: StreamReport, *, has_sound: bool) -> bool:
        """After the end of a pass: whether there is another one. May read the file."""
        self._passes += 1
        if self._passes > MAX_PASSES:
            return False
        return self._next_link(report) if has_sound else self._retry(report)

    def _retry(self, report: StreamReport) -> bool:
        """Another way into a file that gave nothing."""
        self.failure = self.failure or report.failure(self.track)
        if report.needs_layout and not self.reading.every_channel:
            self._change(every_channel=True)
        elif self._untried:
            self._take_next_track()
        else:
            return False
        return True

    def _take_next_track(self) -> None:
        self.track = self._untried.pop(0)
        if self._source.audio_track is None:
            self.warning = choice_made(self.track, self._audio_tracks)
        self._change(stream=f"0:{self.track.index}", every_channel=self.track.lacks_layout)

    def _next_link(self, report: StreamReport) -> bool:
        if not report.stopped or self.reading.container is not Container.OGG:
            return False
        start = next_link(self._source.read_at, self._source.file_bytes, self.reading.skipped_bytes)
        if start is not None:
            self._change(skipped_bytes=start, stream=self._source.reading.stream, every_channel=False)
        return start is not None

    def _change(self, **changes: object) -> None:
        self.reading = msgspec.structs.replace(self.reading, **changes)
