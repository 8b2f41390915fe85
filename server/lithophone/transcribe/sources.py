"""Where a recording's bytes are: on this machine, or in an object store."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

import msgspec


class State(NamedTuple):
    """What tells that a file was written to: its size, and when it was changed last."""

    size_bytes: int
    changed_ns: int


class Source(Protocol):
    """A file, wherever it is. As text it is what a person calls it."""

    @property
    def name(self) -> str:
        """Its name in its folder."""
        ...

    def state(self) -> State:
        """Its state, no later than that of what `open` gives next.

        Raises:
            OSError: it is not there.
        """
        ...

    def open(self) -> BinaryIO:
        """Its content. What is copied to this machine for that has no name, and is gone with the file's last user.

        Raises:
            OSError: it cannot be read.
        """
        ...


class FileSource(msgspec.Struct, frozen=True):
    """A file of this machine."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        """See `Source`."""
        return self.path.name

    def state(self) -> State:
        """See `Source`."""
        return state_of(self.path)

    def open(self) -> BinaryIO:
        """See `Source`."""
        return self.path.open("rb")


def state_of(path: Path) -> State:
    """A file's state now.

    Raises:
        OSError: it is not there.
    """
    found = path.stat()
    return State(found.st_size, found.st_mtime_ns)
