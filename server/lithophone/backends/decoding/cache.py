"""Keys and values of the sequences that are being decoded.

Owns the memory and who sits where in it. Every sequence has one row and begins at position 0, whatever its neighbours'
lengths; a draft that was refused is simply overwritten by what comes next.
"""

from __future__ import annotations

import torch
from torch import Tensor

CAPACITY_STEP = 128


class KeyValueCache:
    """For each layer two tensors [rows, capacity, heads, head_dim], made when the layer first writes."""

    def __init__(self, layers: int) -> None:
        self._keys: list[Tensor | None] = [None] * layers
        self._values: list[Tensor | None] = [None] * layers
        self._rows = 0
        self._capacity = 0

    def reserve(self, rows: int, positions: int) -> None:
        """Make room for so many rows of so many positions; what is there stays.

        Rows at least double, so that sequences which join one by one are not all copied with each of them.
        """
        if rows <= self._rows and positions <= self._capacity:
            return
        self._rows = self._rows if rows <= self._rows else max(rows, 2 * self._rows)
        self._capacity = max(-(-positions // CAPACITY_STEP) * CAPACITY_STEP, self._capacity)
        self._keys = [self._grown(tensor) for tensor in self._keys]
        self._values = [self._grown(tensor) for tensor in self._values]

    def write(self, layer: int, rows: Tensor, positions: Tensor, keys: Tensor, values: Tensor) -> None:
        """Store keys and values [tokens, heads, head_dim] at [tokens] rows and positions."""
        stored_keys, stored_values = self._layer(layer, keys)
        stored_keys[rows, positions] = keys
        stored_values[rows, positions] = values

    def read(self, layer: int, rows: int, length: int) -> tuple[Tensor, Tensor]:
        """Views [rows, heads, length, head_dim] of the first rows and positions."""
        keys, values = self._keys[layer], self._values[layer]
        if keys is None or values is None:
            raise IndexError(f"layer {layer} holds nothing yet")
        return keys[:rows, :length].transpose(1, 2), values[:rows, :length].transpose(1, 2)

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first positions of one row over another."""
        for tensor in (*self._keys, *self._values):
            if tensor is not None:
                tensor[target, :length] = tensor[source, :length]

    def _layer(self, layer: int, like: Tensor) -> tuple[Tensor, Tensor]:
        keys, values = self._keys[layer], self._values[layer]
        if keys is None or values is None:
            keys, values = self._empty(like), self._empty(like)
            self._keys[layer], self._values[layer] = keys, values
        return keys, values

    def _empty(self, like: Tensor) -> Tensor:
        """Zeros, not whatever was in memory: a masked NaN would still be a NaN."""
        return torch.zeros(
            (self._rows, self._capacity, *like.shape[1:]), dtype=like.dtype, device=like.device
        )

    def _grown(self, old: Tensor | None) -> Tensor | None:
        if old is None:
            return None
        new = self._empty(old[0])
        new[: old.shape[0], : old.shape[1]] = old
        return new
