"""Recordings and documents in an object store, such as S3: no files, no appending, but an object appears whole.

Owns what a source, a folder and a journal are there. Which stores there are, and how they are spoken to, `arrow_store` knows.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import PurePosixPath
from tempfile import TemporaryFile
from time import time_ns
from typing import BinaryIO, Final, Protocol
from uuid import uuid4

import msgspec

from lithophone.transcribe.manifest import FOLDER_NAME, LINES_SUFFIX
from lithophone.transcribe.sources import State

READERS: Final = 16
"""Parts of a manifest that are read at once."""

PART_NAME_CHARACTERS: Final = 20
"""Of the time that a part's name begins with, in nanoseconds: names in order are parts in order."""


def is_location(text: str) -> bool:
    """Whether a path on the command line is in an object store."""
    return "://" in text


class Listed(msgspec.Struct, frozen=True):
    """An object that was found: its key, with the bucket before it, and its state."""

    key: str
    state: State


class ObjectStore(Protocol):
    """What is asked of a store. Methods block; any thread may call them. All raise OSError where the store refuses."""

    @property
    def scheme(self) -> str:
        """What its addresses begin with."""
        ...

    def find(self, key: str, *, recursive: bool) -> list[Listed]:
        """The object of this key; else those below it, as in a folder; nothing where there is neither."""
        ...

    def read(self, key: str) -> bytes:
        """An object's content."""
        ...

    def fetch(self, key: str, file: BinaryIO) -> None:
        """Write an object's content to a file."""
        ...

    def write(self, key: str, content: bytes) -> None:
        """Make or replace an object."""
        ...

    def delete(self, key: str) -> None:
        """Take an object away."""
        ...


class ObjectSource:
    """See `Source`."""

    def __init__(self, store: ObjectStore, listed: Listed) -> None:
        self._store = store
        self._listed = listed

    def __str__(self) -> str:
        return f"{self._store.scheme}://{self._listed.key}"

    @property
    def name(self) -> str:
        """See `Source`."""
        return PurePosixPath(self._listed.key).name

    def state(self) -> State:
        """When it was listed: one that was replaced since then counts as another one the next time."""
        return self._listed.state

    def open(self) -> BinaryIO:
        """See `Source`."""
        with ExitStack() as until_fetched:
            file = until_fetched.enter_context(TemporaryFile())
            self._store.fetch(self._listed.key, file)
            file.seek(0)
            until_fetched.pop_all()
            return file


class ObjectFolder:
    """See `Folder`. What is there already is listed once.

    Args:
        store: Where.
        key: What the names of documents are behind.
    """

    def __init__(self, store: ObjectStore, key: str) -> None:
        self._store = store
        self._key = PurePosixPath(key)
        self._there = {listed.key for listed in store.find(key, recursive=True)}

    def has(self, name: str) -> bool:
        """See `Folder`."""
        return str(self._key / name) in self._there

    def write(self, name: str, content: bytes) -> None:
        """See `Folder`."""
        key = str(self._key / name)
        self._store.write(key, content)
        self._there.add(key)

    def journal(self) -> ObjectJournal:
        """See `Folder`."""
        return ObjectJournal(self._store, str(self._key / FOLDER_NAME))


class ObjectJournal:
    """See `Journal`. Each line that is added is an object, a part; the next run joins all parts to one.

    No part is ever replaced, and one is deleted only when another one holds its lines: several runs may read, add and join at
    the same time, and none loses a line of another.

    Args:
        store: Where.
        key: What the keys of parts are behind.
    """

    def __init__(self, store: ObjectStore, key: str) -> None:
        self._store = store
        self._key = PurePosixPath(key)

    def lines(self) -> list[bytes]:
        """See `Journal`."""
        keys, parts = self._parts()
        if len(keys) > 1:
            with suppress(OSError):  # another time; nothing is lost by many parts
                self._join(keys, parts)
        return [line for part in parts for line in part.splitlines()]

    def add(self, line: bytes) -> None:
        """See `Journal`."""
        self._store.write(self._part(f"{time_ns():0{PART_NAME_CHARACTERS}}"), line + b"\n")

    def _parts(self) -> tuple[list[str], list[bytes]]:
        """Keys and contents, from the first to the last."""
        while True:
            keys = sorted(listed.key for listed in self._store.find(str(self._key), recursive=False))
            with ThreadPoolExecutor(READERS) as readers, suppress(FileNotFoundError):  # joined by another run
                return keys, list(readers.map(self._store.read, keys))

    def _join(self, keys: list[str], parts: list[bytes]) -> None:
        """One part for all, in the place of the last of them."""
        self._store.write(self._part(PurePosixPath(keys[-1]).name[:PART_NAME_CHARACTERS]), b"".join(parts))
        with ThreadPoolExecutor(READERS) as writers:
            list(writers.map(self._store.delete, keys))

    def _part(self, moment: str) -> str:
        return str(self._key / f"{moment}-{uuid4().hex}{LINES_SUFFIX}")
