"""A folder of recordings, and somebody who transcribes them without a model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import BinaryIO

import msgspec

from lithophone.engine.transcript import Transcript
from lithophone.errors import UnsupportedMediaError
from lithophone.transcribe.manifest import Recipe
from lithophone.transcribe.recordings import Recording
from lithophone.transcribe.transcriber import Heard, Maker
from tests.formats.samples import TRANSCRIPT, segment

RECIPE = Recipe(model="fake", revision="1", options={"language": ""})


def transcript_of(text: str) -> Transcript:
    return msgspec.structs.replace(TRANSCRIPT, text=text, segments=(segment(0, 0.0, 2.0, text, first=True),))


class Reader:
    """Reads the text out of a file that stands for a recording.

    A file that says `bad` is none; one that says `later` is heard after all others.
    """

    def __init__(self, seconds: float = 0.0, failure: Exception | None = None) -> None:
        self.read: list[str] = []
        self.at_once = 4
        self.maker = Maker("fake", "1")
        self.most_at_once = 0
        self._seconds = seconds
        self._failure = failure
        self._now = 0

    async def transcribe(self, file: BinaryIO, heard: Callable[[Heard], None]) -> Transcript:
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            return await self._transcribe(file, heard)
        finally:
            self._now -= 1

    async def _transcribe(self, file: BinaryIO, heard: Callable[[Heard], None]) -> Transcript:
        text = (await asyncio.to_thread(file.read)).decode()
        await asyncio.sleep(0.05 if text == "later" else self._seconds)
        if self._failure is not None:
            raise self._failure
        if text == "bad":
            raise UnsupportedMediaError("not audio")
        heard(Heard(1.0, 2.0))
        self.read.append(Path(file.name).name if isinstance(file.name, str) else text)
        return transcript_of(text)


class Notes:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def begun(self, recording: Recording) -> Callable[[Heard], None]:
        return lambda heard: self.told.append(f"heard {recording.place} {heard.seconds:g}")

    def done(self, recording: Recording, audio_seconds: float) -> None:
        self.told.append(f"done {recording.place} {audio_seconds:g}")

    def skipped(self, recording: Recording) -> None:
        self.told.append(f"skipped {recording.place}")

    def failed(self, recording: Recording, reason: str) -> None:
        self.told.append(f"failed {recording.place}: {reason}")


async def each(recordings: Iterable[Recording]) -> AsyncIterator[Recording]:
    for recording in recordings:
        yield recording


def fill(folder: Path, *names: str) -> Path:
    """Files that say their own names."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(Path(name).stem)
    return folder
