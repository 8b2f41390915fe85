"""What was written into a folder, from which recording, by what: a line for each, kept beside the documents.

A line is added once all documents of a recording are in place, so that a run that is killed at any moment leaves whole
documents and whole lines. On disk that is one file, with at most one torn line at the end, which is passed over.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from lithophone.transcribe.sources import State

LINES_SUFFIX: Final = ".jsonl"
FOLDER_NAME: Final = "lithophone-manifest"
"""Of the lines where each is an object of its own."""

FILE_NAME: Final = FOLDER_NAME + LINES_SUFFIX


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


def as_kept(recipe: Recipe) -> Recipe:
    """The recipe as it is read again from a line, where a tuple is a list: only so it equals the one of an earlier run."""
    return msgspec.json.decode(msgspec.json.encode(recipe), type=Recipe)


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A line: the documents (by suffix) at a place, and what they were made of."""

    place: str
    recording: str
    state: State
    recipe: Recipe
    formats: tuple[str, ...]


class Journal(Protocol):
    """Lines that are kept. One thread at a time."""

    def lines(self) -> list[bytes]:
        """All of them, in the order in which they were added; some may be torn or empty.

        Raises:
            OSError: they cannot be read.
        """
        ...

    def add(self, line: bytes) -> None:
        """Keep one more, for good before this returns.

        Raises:
            OSError: it cannot be written.
        """
        ...


class FileJournal:
    """See `Journal`.

    Args:
        path: Of the file, which need not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._torn = False

    def lines(self) -> list[bytes]:
        """See `Journal`."""
        content = self._path.read_bytes() if self._path.exists() else b""
        self._torn = bool(content) and not content.endswith(b"\n")
        return content.splitlines()

    def add(self, line: bytes) -> None:
        """See `Journal`."""
        with self._path.open("ab") as file:
            file.write((b"\n" if self._torn else b"") + line + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._torn = False


class Manifest:
    """The entries of a folder, the latest of each place; used by any thread.

    Args:
        journal: Where its lines are kept.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._entries = {entry.place: entry for entry in _entries(journal.lines())}
        self._lock = threading.Lock()

    def __getitem__(self, place: str) -> Entry | None:
        return self._entries.get(place)

    def add(self, entry: Entry) -> None:
        """Keep a line, and have it kept before going on.

        Raises:
            OSError: it cannot be written.
        """
        with self._lock:
            self._journal.add(msgspec.json.encode(entry))
            self._entries[entry.place] = entry


def _entries(lines: Iterable[bytes]) -> list[Entry]:
    entries: list[Entry] = []
    for line in lines:
        try:
            entries.append(msgspec.json.decode(line, type=Entry))
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
    return entries
