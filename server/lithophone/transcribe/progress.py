"""What a person sees while recordings are transcribed: a bar on a terminal, nothing in a pipe, failures in both."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from lithophone.transcribe.recordings import Recording
from lithophone.transcribe.sources import Source
from lithophone.transcribe.transcriber import Heard

COLUMNS: Final = (
    SpinnerColumn(),
    BarColumn(),
    TextColumn("{task.fields[files]}"),
    TextColumn("{task.fields[audio]}"),
    TextColumn("{task.fields[speed]}"),
    TimeRemainingColumn(),
)


class Tally:
    """Counts: recordings done and skipped, seconds of audio, and how much of the bytes there are is done."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self._underway: dict[str, Heard] = {}
        self._whole_seconds = 0.0
        self.done = 0
        self.skipped = 0
        self.failed = 0

    def hear(self, place: str, heard: Heard) -> None:
        """How far one recording is."""
        self._underway[place] = heard

    def end(self, place: str, audio_seconds: float) -> None:
        """One recording is through."""
        self._underway.pop(place, None)
        self._whole_seconds += audio_seconds

    @property
    def audio_seconds(self) -> float:
        """Heard until now, of recordings under way too."""
        return self._whole_seconds + sum(heard.seconds for heard in self._underway.values())

    @property
    def speed(self) -> float:
        """Seconds of audio in one second."""
        return self.audio_seconds / max(self._clock() - self._started, 1e-9)

    def share(self, place: str) -> float:
        """How much of a recording is heard, 0 to 1; 0 where its length is not stated."""
        heard = self._underway.get(place)
        return min(heard.seconds / heard.of_seconds, 1.0) if heard is not None and heard.of_seconds else 0.0


class ProgressBar:
    """See `Watcher`. The bar counts bytes, since nobody knows how long recordings are before they are opened."""

    def __init__(self, progress: Progress, console: Console) -> None:
        self._progress = progress
        self._console = console
        self._tally = Tally()
        self._sizes: dict[str, int] = {}
        self._through_bytes = 0
        self._files: int | None = None
        self._task: TaskID = progress.add_task("", total=None, files="", audio="", speed="")

    def expect(self, recordings: list[Recording]) -> None:
        """All recordings, where they are known beforehand."""
        self._files = len(recordings)
        self._sizes = {recording.place: _size_bytes(recording.source) for recording in recordings}
        self._progress.update(self._task, total=sum(self._sizes.values()))

    def begun(self, recording: Recording) -> Callable[[Heard], None]:
        """See `Watcher`."""

        def hear(heard: Heard) -> None:
            for warning in heard.warnings:
                self._say(f"{recording.source}: {warning}")
            self._tally.hear(recording.place, heard)
            self._show()

        return hear

    def done(self, recording: Recording, audio_seconds: float) -> None:
        """See `Watcher`."""
        self._tally.done += 1
        self._end(recording, audio_seconds)

    def skipped(self, recording: Recording) -> None:
        """See `Watcher`."""
        self._tally.skipped += 1
        self._end(recording, 0.0)

    def failed(self, recording: Recording, reason: str) -> None:
        """See `Watcher`."""
        self._tally.failed += 1
        self._say(f"{recording.source}: {reason}")
        self._end(recording, 0.0)

    def summary(self) -> str:
        """A line at the end."""
        tally = self._tally
        parts = [f"{tally.done} transcribed"]
        parts += [f"{tally.skipped} already there"] if tally.skipped else []
        parts += [f"{tally.failed} failed"] if tally.failed else []
        return (
            f"{', '.join(parts)}; {_length(tally.audio_seconds)} of audio at {tally.speed:.1f} times its pace"
        )

    def _say(self, text: str) -> None:
        self._console.print(Text(f"lithophone: {text}"), soft_wrap=True)

    def _end(self, recording: Recording, audio_seconds: float) -> None:
        self._tally.end(recording.place, audio_seconds)
        self._through_bytes += self._sizes.pop(recording.place, 0)
        self._show()

    def _show(self) -> None:
        tally = self._tally
        through = tally.done + tally.skipped + tally.failed
        partly = sum(size * tally.share(place) for place, size in self._sizes.items())
        self._progress.update(
            self._task,
            completed=self._through_bytes + partly,
            files=f"{through} files" if self._files is None else f"{through}/{self._files} files",
            audio=f"{_length(tally.audio_seconds)} of audio",
            speed=f"{tally.speed:.1f}x",
        )


@contextmanager
def progress_bar() -> Generator[ProgressBar]:
    """A bar on standard error where that is a terminal; a summary at its end."""
    console = Console(file=sys.stderr)
    hidden = not console.is_terminal
    with Progress(*COLUMNS, console=console, transient=True, disable=hidden) as progress:
        bar = ProgressBar(progress, console)
        yield bar
    if not hidden:
        console.print(bar.summary())


def _length(seconds: float) -> str:
    minutes, whole_seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{whole_seconds:02}"


def _size_bytes(source: Source) -> int:
    try:
        return source.state().size_bytes
    except OSError:
        return 0
