"""Clips of any lengths one behind the other, and how their places get to a device.

Every copy to a device costs more than what it carries: all indexes of a pass go in one.
"""

from __future__ import annotations

from itertools import accumulate
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Index = NDArray[np.int64]


class PackedRows(NamedTuple):
    """Rows of several clips, [sum of lengths, width]."""

    rows: Tensor
    lengths: tuple[int, ...]

    def split(self) -> list[Tensor]:
        """One tensor a clip, [length, width]."""
        starts = accumulate(self.lengths, initial=0)
        return [
            self.rows.narrow(0, start, length) for start, length in zip(starts, self.lengths, strict=False)
        ]


def sent(device: torch.device | str, *indexes: Index) -> list[Tensor]:
    """Whole numbers on the device, int64, each in its shape; in one copy."""
    flat: Tensor = torch.as_tensor(np.concatenate([index.ravel() for index in indexes]))
    sizes = tuple(index.size for index in indexes)
    parts = PackedRows(flat.to(device), sizes).split()
    return [part.view(index.shape) for part, index in zip(parts, indexes, strict=True)]


def received(rows: Tensor) -> Tensor:
    """The same on the host, which waits for them; a GPU writes by itself into memory that is kept for that."""
    if rows.device.type != "cuda":
        return rows.cpu()
    return torch.empty(rows.shape, dtype=rows.dtype, pin_memory=True).copy_(rows)


def starts_of(lengths: Index) -> Index:
    """Where each clip begins in the packed rows."""
    return np.cumsum(lengths) - lengths


def places_of(starts: Index, lengths: Index) -> Index:
    """[sum of lengths]: the rows from each start on, as many as each clip has."""
    offsets: Index = np.repeat(starts - starts_of(lengths), lengths)
    return offsets + np.arange(len(offsets))
