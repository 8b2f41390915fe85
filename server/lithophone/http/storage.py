"""Where uploads lie while they come in and until they are answered: deleted files in the temporary folder.

Owns their number, their size together, and what it means when the disk does not take them. Both are shared fairly between
clients, so that one that sends slowly, or much, leaves room for others.
"""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from typing import BinaryIO, Final

import structlog

from lithophone.engine.fairness import Client, has_share
from lithophone.errors import OverloadedError, ShortageError

log = structlog.get_logger(__name__)

TEMPORARY_FOLDER: Final = "temporary folder"
FULL_RETRY_SECONDS: Final = 5


class StoredUpload:
    """A file that grows as it comes in. `file` is what was stored; `write` may be called from a thread."""

    def __init__(self, uploads: Uploads, client: Client, file: BinaryIO) -> None:
        self.file = file
        self._uploads = uploads
        self._client = client
        self._stored_bytes = 0

    def reserve(self, byte_count: int) -> None:
        """Count so many bytes more against what may be stored.

        Raises:
            OverloadedError: uploads fill the room for them.
        """
        self._uploads.take(self._client, byte_count)
        self._stored_bytes += byte_count

    def write(self, data: bytes | bytearray) -> None:
        """Store what was reserved.

        Raises:
            ShortageError: the disk does not take it.
        """
        try:
            self.file.write(data)
            self.file.flush()
        except OSError as error:
            raise _disk_shortage(error) from None

    def give_back(self) -> None:
        """The file is closed: what it took is free."""
        self._uploads.give_back(self._client, self._stored_bytes)
        self._stored_bytes = 0


class Uploads:
    """All uploads of the server.

    Args:
        max_count: How many may come in, wait or be at work at once.
        max_bytes: What they may take on disk together; 0: whatever the disk has.
    """

    def __init__(self, max_count: int, max_bytes: int) -> None:
        self._max_count = max_count
        self._max_bytes = max_bytes or math.inf
        self._counts: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()

    @property
    def count(self) -> int:
        """How many there are."""
        return self._counts.total()

    @property
    def stored_bytes(self) -> int:
        """What they take together."""
        return self._bytes.total()

    @contextmanager
    def store(self, client: Client) -> Generator[StoredUpload]:
        """Room for one more upload, until its request is over.

        Raises:
            OverloadedError: there are too many.
            ShortageError: the temporary folder cannot be used.
        """
        if not has_share(self._counts[client.name], self._max_count - self.count):
            raise OverloadedError(
                f"{self.count} uploads are under way; try again later.",
                retry_after_seconds=FULL_RETRY_SECONDS,
            )
        self._counts[client.name] += 1
        try:
            with _temporary_file() as file:
                upload = StoredUpload(self, client, file)
                try:
                    yield upload
                finally:
                    upload.give_back()
        finally:
            self._counts[client.name] -= 1
            self._counts += Counter()  # forgets clients that have none

    def take(self, client: Client, byte_count: int) -> None:
        """See `StoredUpload.reserve`."""
        free = self._max_bytes - self.stored_bytes
        if byte_count > free or not has_share(self._bytes[client.name], free):
            raise OverloadedError(
                "The uploads under way fill the room for them; try again later.",
                retry_after_seconds=FULL_RETRY_SECONDS,
            )
        self._bytes[client.name] += byte_count

    def give_back(self, client: Client, byte_count: int) -> None:
        """See `StoredUpload.give_back`."""
        self._bytes[client.name] -= byte_count
        self._bytes += Counter()


def require_storage() -> None:
    """Check that an upload could be stored now.

    Raises:
        ShortageError: it could not.
    """
    with _temporary_file() as file:
        try:
            file.write(bytes(1 << 16))
            file.flush()
        except OSError as error:
            raise _disk_shortage(error) from None


def _temporary_file() -> BinaryIO:
    try:
        return tempfile.TemporaryFile()
    except OSError as error:
        raise _disk_shortage(error) from None


def _disk_shortage(error: OSError) -> ShortageError:
    reason = error.strerror or type(error).__name__
    return ShortageError(
        "The server cannot store the upload now; try again later.", lacking=f"{TEMPORARY_FOLDER}: {reason}"
    )
