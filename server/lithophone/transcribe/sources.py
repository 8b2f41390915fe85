"""Where a recording's bytes are: on this machine, or in an object store."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Protocol

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
        """Its state, no later than that of what `fetch` gives next.

        Raises:
            OSError: it is not there.
        """
        ...

    def fetch(self, folder: Path) -> Path:
        """A file of this machine with its content; a copy is made in `folder`, which is empty.

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

    def fetch(self, folder: Path) -> Path:  # noqa: ARG002 - no copy is needed
        """The file itself."""
        return self.path


def state_of(path: Path) -> State:
    """A file's state now.

    Raises:
        OSError: it is not there.
    """
    found = path.stat()
    return State(found.st_size, found.st_mtime_ns)
