"""A folder that documents are written into: of this machine, or in an object store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from lithophone.transcribe.manifest import FILE_NAME, FileJournal, Journal
from lithophone.transcribe.objects import ObjectFolder, is_location


class Folder(Protocol):
    """Takes documents by name, with sub-folders before it. Any thread may use it."""

    def has(self, name: str) -> bool:
        """Whether there is such a document."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Let a document appear with all of its content, or leave what was there.

        Raises:
            OSError: it cannot be written.
        """
        ...

    def journal(self) -> Journal:
        """The lines that are kept beside the documents."""
        ...


class LocalFolder:
    """See `Folder`.

    Args:
        path: Made if need be.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def has(self, name: str) -> bool:
        """See `Folder`."""
        return (self._path / name).is_file()

    def write(self, name: str, content: bytes) -> None:
        """See `Folder`."""
        write_whole(self._path / name, content)

    def journal(self) -> FileJournal:
        """See `Folder`."""
        return FileJournal(self._path / FILE_NAME)


def open_folder(text: str) -> Folder:
    """The folder that is meant on the command line.

    Raises:
        ConfigurationError: there is no such store.
        OSError: the store refuses.
    """
    if not is_location(text):
        return LocalFolder(Path(text))
    from lithophone.transcribe.arrow_store import open_store  # noqa: PLC0415 - an extra

    return ObjectFolder(*open_store(text))


def write_whole(path: Path, content: bytes) -> None:
    """Let a file appear with all of its content, or leave what was there.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.part")
    with unfinished.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
