"""The audio a request carries: where its bytes come from, how many, and whether they can be sent a second time.

Files are read piece by piece while they are sent, never whole. This module knows neither HTTP nor the API.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

AudioFile = str | os.PathLike[str] | bytes | BinaryIO

PIECE_BYTES = 64 * 1024
_UNNAMED = "audio"


@dataclass(frozen=True, slots=True)
class Upload:
    """Audio to send.

    Attributes:
        name: the file name to tell the server, which goes by the bytes all the same.
        open: gives a reader at the first byte to send; called once for each attempt.
        can_be_resent: whether `open` may be called twice.
    """

    name: str
    open: Callable[[], AbstractContextManager[BinaryIO]]
    can_be_resent: bool


def upload_of(file: AudioFile) -> Upload:
    """Audio from a path, from bytes, or from what is left of a binary file object.

    A file object stays open and is the caller's to close; one that cannot seek is sent once, without retries.

    Raises:
        TypeError: the file object is open in text mode, or is none of the three.
    """
    if isinstance(file, bytes):
        return Upload(_UNNAMED, lambda: io.BytesIO(file), can_be_resent=True)
    if isinstance(file, (str, os.PathLike)):
        path = Path(file)
        return Upload(path.name, lambda: path.open("rb"), can_be_resent=path.is_file())
    if isinstance(file, io.TextIOBase) or not hasattr(file, "read"):
        raise TypeError(
            f"file must be a path, bytes or a file open in binary mode, not {type(file).__name__}"
        )
    return _upload_of_reader(file)


def remaining_bytes(reader: BinaryIO) -> int | None:
    """How much there is from the reader's position to its end, or None for a pipe."""
    if not reader.seekable():
        return None
    position = reader.tell()
    end = reader.seek(0, io.SEEK_END)
    reader.seek(position)
    return end - position


def _upload_of_reader(reader: BinaryIO) -> Upload:
    name = getattr(reader, "name", None)
    file_name = Path(name).name if isinstance(name, str) and name else _UNNAMED
    if not reader.seekable():
        return Upload(file_name, lambda: contextlib.nullcontext(reader), can_be_resent=False)
    start = reader.tell()

    def rewind() -> AbstractContextManager[BinaryIO]:
        reader.seek(start)
        return contextlib.nullcontext(reader)

    return Upload(file_name, rewind, can_be_resent=True)
