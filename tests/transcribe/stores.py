"""An object store that is a dictionary."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from lithophone.transcribe.objects import Listed
from lithophone.transcribe.sources import State


class Shelves:
    """See `ObjectStore`; an object's time is how many had been written before it.

    Attributes:
        objects: What is there.
        refused: Keys with this in them are not written.
    """

    def __init__(self, *keys: str) -> None:
        self.scheme = "s3"
        self.objects: dict[str, bytes] = {}
        self.refused = "\0"
        self._times: dict[str, int] = {}
        for key in keys:
            self.write(key, Path(key).stem.encode())

    def find(self, key: str, *, recursive: bool) -> list[Listed]:
        if key in self.objects:
            return [self._listed(key)]
        below = [found for found in self.objects if found.startswith(f"{key}/")]
        return [
            self._listed(found) for found in below if recursive or "/" not in found.removeprefix(f"{key}/")
        ]

    def read(self, key: str) -> bytes:
        if key not in self.objects:
            raise FileNotFoundError(2, "Path does not exist")
        return self.objects[key]

    def fetch(self, key: str, file: BinaryIO) -> None:
        file.write(self.read(key))

    def write(self, key: str, content: bytes) -> None:
        if self.refused in key:
            raise OSError("AWS Error ACCESS_DENIED")
        self.objects[key] = content
        self._times[key] = sum(self._times.values()) + 1

    def delete(self, key: str) -> None:
        self.objects.pop(key, None)

    def _listed(self, key: str) -> Listed:
        return Listed(key, State(len(self.objects[key]), self._times[key]))
