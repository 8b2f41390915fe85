"""What ffmpeg's report says of a file: its tracks, its clock, and what went wrong.

Owns the reading of the report, which ffmpeg writes with `-loglevel level+info`. Pure.

Metadata is printed too, indented deeper than what ffmpeg says itself, so a title cannot pass for a fact.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from lithophone.errors import NoAudioStreamError, ServiceError, UndecodableAudioError

_DURATION: Final = re.compile(
    r"\[info\]   Duration: (?:(\d+):(\d\d):(\d\d(?:\.\d+)?)|N/A)(?:, start: (-?[\d.]+))?"
)
_WRITTEN: Final = re.compile(r"\[info\] size=.* time=(\d+):(\d\d):(\d\d(?:\.\d+)?) ")
_STREAM: Final = re.compile(r"\[info\]   Stream #0:(\d+)(?:\[\w+\])?(?:\((\w+)\))?: (\w+): (.*)")
_TITLE: Final = re.compile(r"\[info\]       (?:title|handler_name) +: *(.*)", re.IGNORECASE)
_TAG: Final = re.compile(r"none \((?:(\w+) / |.* / 0x)(\w+)\)")
_DISPOSITION: Final = re.compile(r" \(([a-z -]+)\)")
_UNKNOWN_LAYOUT: Final = re.compile(r", (?:[3-9]|\d\d+) channels\b")
_NOT_ALLOWED: Final = re.compile(r"Codec \((\w+)\) not on whitelist")
_NOT_OPENED: Final = re.compile(r"\[dec:(\w+) @ .*Error while opening decoder")
_FAULT: Final = re.compile(
    r"\[(?:in#0/|aist#)[^\]]*\] (?:\[dec:[^\]]*\] )?\[error\] (.*)"
    r"|\[\w+ @ \w+\] \[error\] (.*CRC error.*)"
    r"|\[aist#.*\[warning\] (corrupt decoded frame)"
)
_CORRUPT: Final = re.compile(
    r"\[in#0/[^\]]*\] \[warning\] (?:Packet corrupt \(stream = |corrupt input packet in stream )(\d+)"
)
# What ffmpeg says when a chained Ogg file goes on with another kind of stream; it stops there.
_NEXT_LINK: Final = (
    "Channel change is not supported",
    "Sample rate change is not supported",
    "failed to create or replace stream",
    "Packet processing failed",
)
MAX_FAULTS_TOLD: Final = 256  # lines that are known again
_STOPPED: Final = "Error during demuxing"


class Track(msgspec.Struct, frozen=True, kw_only=True):
    """One stream of a file.

    Attributes:
        index: ffmpeg's number of it, over streams of every kind.
        kind: `Audio`, `Video`, `Subtitle`, ... as ffmpeg calls it.
        codec: ffmpeg's name of it; of one ffmpeg does not know, the tag it has in the file.
        language: as the file has it, or empty.
        dispositions: `default`, `comment`, `attached pic`, ...
        title: what the file calls it.
        lacks_layout: it has more than two channels, and nobody says which is which.
    """

    index: int
    kind: str
    codec: str
    language: str = ""
    dispositions: frozenset[str] = frozenset()
    title: str = ""
    lacks_layout: bool = False


class StreamReport:
    """Takes the report line by line.

    Attributes:
        stated_seconds: the length the container states, if it does.
        estimated_seconds: the length by the bit rate, where that is all there is.
        written_seconds: what was written, told at the end; not of a pass that keeps the file's own clock.
        start_seconds: the earliest time of any stream, on the container's own clock, if it has one.
        described: the input is described; what follows are only faults.
        needs_layout: ffmpeg cannot mix these channels, because nobody says which is which.
        stopped: the demuxer gave up before the end of the file.
        changes: the channels or the rate of the sound change on the way.
    """

    def __init__(self) -> None:
        self.stated_seconds: float | None = None
        self.estimated_seconds: float | None = None
        self.written_seconds: float | None = None
        self.start_seconds: float | None = None
        self.described = False
        self.needs_layout = False
        self.stopped = False
        self.changes = False
        self._corrupt_streams: set[int] = set()
        self._has_faults = False
        self._faults_told: set[str] = set()
        self._tracks: dict[int, Track] = {}
        self._last_index = -1
        self._estimated = False
        self._not_allowed: set[str] = set()
        self._unreadable = False

    @property
    def tracks(self) -> list[Track]:
        """All streams, in ffmpeg's order."""
        return sorted(self._tracks.values(), key=lambda track: track.index)

    @property
    def audio_tracks(self) -> list[Track]:
        """Those with sound."""
        return [track for track in self.tracks if track.kind == "Audio"]

    @property
    def is_alone(self) -> bool:
        """Whether the file is one audio track, and perhaps its cover."""
        return [track.kind for track in self.tracks if "attached pic" not in track.dispositions] == ["Audio"]

    def is_faulty(self, track: Track | None, *, may_end_anywhere: bool = False) -> bool:
        """Whether something could not be read, or not decoded of `track`; without one, of any stream.

        That the last packet is short is no fault of a file that may end anywhere.
        """
        corrupt = self._corrupt_streams if track is None else self._corrupt_streams & {track.index}
        return self._has_faults or (bool(corrupt) and not may_end_anywhere)

    def read_line(self, line: str) -> None:
        """Takes the next line. Faults come in millions where each packet has one: what was told before is passed over."""
        if line in self._faults_told:
            return
        self._read_fault(line)
        if self.described:
            if len(self._faults_told) < MAX_FAULTS_TOLD:
                self._faults_told.add(line)
            self._read_written(line)
            return
        if "Estimating duration from bitrate" in line:
            self._estimated = True
        elif match := _DURATION.match(line):
            self._read_duration(match)
        elif match := _STREAM.match(line):
            self._read_stream(match)
        elif match := _TITLE.match(line):
            self._read_title(match.group(1))
        elif line.startswith(("[info] Stream mapping:", "[info] Output #0")):
            self.described = True

    def failure(self, track: Track | None = None) -> ServiceError:
        """Why nothing was decoded, of `track` or of the first one with sound."""
        if self._tracks and not self.audio_tracks:
            return NoAudioStreamError("The file contains no audio stream.", param="file")
        tried = track or next(iter(self.audio_tracks), None)
        if tried is not None and self._unreadable:
            return UndecodableAudioError(
                f"The audio is in a codec this server does not read: {tried.codec}.", param="file"
            )
        what = f"The audio ({tried.codec})" if tried is not None else "The audio"
        return UndecodableAudioError(f"{what} is corrupt or empty.", param="file")

    def _read_written(self, line: str) -> None:
        if match := _WRITTEN.match(line):
            hours, minutes, seconds = match.groups()
            self.written_seconds = int(hours) * 3600 + int(minutes) * 60 + float(seconds)

    def _read_duration(self, match: re.Match[str]) -> None:
        """An estimate from the bit rate is no statement: it can be wrong by any factor."""
        hours, minutes, seconds, start = match.groups()
        if seconds is not None:
            length = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
            self.stated_seconds, self.estimated_seconds = (
                (None, length) if self._estimated else (length, None)
            )
        self.start_seconds = float(start) if start else None

    def _read_stream(self, match: re.Match[str]) -> None:
        """A stream of several programs is told several times."""
        index, language, kind, what = match.groups()
        self._last_index = int(index)
        self._tracks[self._last_index] = Track(
            index=self._last_index,
            kind=kind,
            codec=_codec(what),
            language=language or "",
            dispositions=frozenset(_DISPOSITION.findall(what)),
            lacks_layout=_UNKNOWN_LAYOUT.search(what) is not None,
        )

    def _read_title(self, title: str) -> None:
        track = self._tracks.get(self._last_index)
        if track is not None:
            self._tracks[track.index] = msgspec.structs.replace(track, title=f"{track.title} {title}".strip())

    def _read_fault(self, line: str) -> None:
        if match := _NOT_ALLOWED.search(line):
            self._not_allowed.add(match.group(1))
        elif (
            (match := _NOT_OPENED.search(line)) and match.group(1) in self._not_allowed
        ) or "no decoder found for" in line:
            self._unreadable = True
        elif "Rematrix is needed" in line:
            self.needs_layout = True
        elif "Reconfiguring filter graph" in line:
            self.changes = True
        elif match := _CORRUPT.match(line):
            self._corrupt_streams.add(int(match.group(1)))
        elif match := _FAULT.match(line):
            fault = next(filter(None, match.groups()), "")
            self.stopped |= fault.startswith(_STOPPED)
            self._has_faults |= not fault.startswith((_STOPPED, *_NEXT_LINK))


def _codec(what: str) -> str:
    """The codec's name; of an unknown one the four characters, or else the number, that the file has for it."""
    if match := _TAG.match(what):
        characters, number = match.groups()
        return characters or number
    return re.split(r"[ ,]", what, maxsplit=1)[0]
