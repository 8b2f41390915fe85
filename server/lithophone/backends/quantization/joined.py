"""Layers that take the same input one after another, multiplied as one.

Owns the layer that stands for several, and how each of them gets its part. With a few rows a product waits for memory, and rounding
its input and restoring its result cost a quarter of it: those are then done once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lithophone.backends.quantization.eight import Int8Linear, Int8Weight
from lithophone.backends.quantization.four import Int4Linear, Int4Weight


class Part(nn.Module):
    """One of some layers that are multiplied together; the first of them holds what multiplies.

    Whichever is asked first multiplies for all. The others' results wait until they are asked with the same input.

    Attributes:
        joined: What multiplies.
    """

    def __init__(self, joined: Joined, index: int) -> None:
        super().__init__()
        if index == 0:
            self.layer = joined.layer
        self.joined = joined
        self._index = index

    def forward(self, inputs: Tensor) -> Tensor:
        """[..., in] to [..., out], in the dtype of `inputs`."""
        return self.joined.part(self._index, inputs)


class Joined:
    """What multiplies, and the results that wait.

    Args:
        layer: Its outputs are those of all parts, one behind the other.
        sizes: Outputs of each part.
    """

    def __init__(self, layer: Int8Linear | Int4Linear, sizes: Sequence[int]) -> None:
        self.layer = layer
        self._sizes = list(sizes)
        self._inputs: Tensor | None = None
        self._waiting: dict[int, Tensor] = {}

    def parts(self) -> list[Part]:
        """In their order."""
        return [Part(self, index) for index in range(len(self._sizes))]

    def stored(self) -> list[tuple[Int8Weight | Int4Weight, Tensor | None]]:
        """Of each part the weight and the bias."""
        weight, bias = self.layer.stored(), self.layer.bias
        columns = zip(
            *(getattr(weight, name).split(self._sizes) for name in weight.__struct_fields__), strict=True
        )
        weights = [type(weight)(*fields) for fields in columns]
        biases = [None] * len(weights) if bias is None else bias.split(self._sizes)
        return list(zip(weights, biases, strict=True))

    def part(self, index: int, inputs: Tensor) -> Tensor:
        """Its outputs for an input."""
        if self._inputs is not inputs or index not in self._waiting:
            self._inputs = inputs
            self._waiting = dict(enumerate(self.layer(inputs).split(self._sizes, dim=-1)))
        given = self._waiting.pop(index)
        if not self._waiting:
            self._inputs = None
        return given


def joined_weight(weights: Sequence[Any]) -> Any:
    """Of weights of one kind the rows of all, one behind the other."""
    kind = type(weights[0])
    return kind(
        *(torch.cat([getattr(weight, name) for weight in weights]) for name in kind.__struct_fields__)
    )
