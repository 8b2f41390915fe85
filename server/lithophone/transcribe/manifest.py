"""What was written into a folder, from which recording, by what: a file beside the documents, a line for each.

Owns the file. A line is added once all documents of a recording are in place, so that a run that is killed at any moment
leaves whole documents and whole lines, and at most one torn line at the end, which is passed over.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any, Final

import msgspec

from lithophone.transcribe.recordings import State

FILE_NAME: Final = "lithophone-manifest.jsonl"


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """What a document depends on beside its recording.

    Attributes:
        model: The id it is served under.
        revision: Which weights: a commit of the hub, or a digest of the folder; None where nobody says.
        options: Everything that was asked for, by name.
    """

    model: str
    revision: str | None
    options: dict[str, Any]


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A line: the documents (by suffix) at a place, and what they were made of."""

    place: str
    recording: str
    state: State
    recipe: Recipe
    formats: tuple[str, ...]


class Manifest:
    """The entries of a folder, the latest of each place; used by any thread.

    Args:
        folder: Where the documents are; need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        self._entries = {entry.place: entry for entry in _entries(self._path)}
        self._torn = _is_torn(self._path)
        self._lock = threading.Lock()

    def __getitem__(self, place: str) -> Entry | None:
        return self._entries.get(place)

    def add(self, entry: Entry) -> None:
        """Write a line, and have it on the disk before going on.

        Raises:
            OSError: it cannot be written.
        """
        with self._lock, self._path.open("ab") as file:
            file.write((b"\n" if self._torn else b"") + msgspec.json.encode(entry) + b"\n")
            file.flush()
            os.fsync(file.fileno())
            self._torn = False
            self._entries[entry.place] = entry


def _entries(path: Path) -> list[Entry]:
    entries: list[Entry] = []
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            entries.append(msgspec.json.decode(line, type=Entry))
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
    return entries


def _is_torn(path: Path) -> bool:
    """Whether the last line has no end."""
    return path.exists() and not path.read_bytes().endswith((b"\n",)) and path.stat().st_size > 0
