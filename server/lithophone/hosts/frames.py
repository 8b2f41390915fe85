"""Messages between a server and its worker's process, as bytes.

Owns the frame: how many parts, how long each, the pickled message, and behind it the samples it holds, which are neither
pickled nor copied. Both ends are this program, over a pair of sockets that nobody else can reach.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

Part = bytes | memoryview

_COUNT: Final = struct.Struct("!I")
_LENGTH: Final = struct.Struct("!Q")
COUNT_BYTES: Final = _COUNT.size


def encode(message: object) -> list[Part]:
    """The parts of a frame, in order."""
    buffers: list[pickle.PickleBuffer] = []
    parts: list[Part] = [pickle.dumps(message, protocol=5, buffer_callback=buffers.append)]
    parts += [buffer.raw() for buffer in buffers]
    lengths = b"".join(_LENGTH.pack(len(part)) for part in parts)
    return [_COUNT.pack(len(parts)) + lengths, *parts]


def lengths_bytes(count: bytes) -> int:
    """How long the list of lengths is, from the first `COUNT_BYTES` of a frame."""
    (parts,) = _COUNT.unpack(count)
    return parts * _LENGTH.size


def lengths(packed: bytes) -> list[int]:
    """How long each part is."""
    return [length for (length,) in _LENGTH.iter_unpack(packed)]


def decode(parts: Sequence[Any]) -> Any:
    """The message of a frame's parts."""
    return pickle.loads(parts[0], buffers=parts[1:])  # noqa: S301 - both ends are this program


def read_frame(read: Callable[[int], Any]) -> Any:
    """The next message, by a function that reads exactly so many bytes.

    Raises:
        EOFError: what `read` raises where the other end has closed.
    """
    sizes = lengths(bytes(read(lengths_bytes(bytes(read(COUNT_BYTES))))))
    return decode([read(size) for size in sizes])
