"""Linear layers of 8-bit weights for processors with AMX, which multiply tiles of 8 bits and of bfloat16.

Owns two products that read the weight as it is. The one of 8-bit activations gives the numbers of `PackedInt8Linear` by oneDNN,
which uses those tiles where FBGEMM does not. The other widens the weight tile by tile, for passes that are bound by arithmetic:
there rounding activations and restoring products would cost more than integers save.
"""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional

from lithophone.backends.quantization.eight import Int8Linear, Int8Weight
from lithophone.backends.quantization.rounding import LEVELS

WEIGHT_FIRST_ROWS: Final = 8
"""Up to here the weight comes first in a product, which then reads it in its own order; of more rows the result, which lies the
other way round, would cost more to turn than that saves."""

TILE_WEIGHTS: Final = 1 << 21  # widened at a time: two bytes each


class PlainInt8Linear(Int8Linear):
    """By oneDNN, from a weight that is not packed."""

    values: Tensor
    scale: Tensor

    def __init__(self, weight: Int8Weight, bias: Tensor | None) -> None:
        super().__init__(weight, bias)
        self.register_buffer("values", weight.values)
        self.register_buffer("scale", weight.scale)

    def stored(self) -> Int8Weight:
        """The weight."""
        return Int8Weight(self.values, self.scale)

    def multiply(self, rows: Tensor) -> Tensor:
        """See `Int8Linear`."""
        return self.multiply_whole(rows, LEVELS, torch.int8, self._product)

    def _product(self, whole: Tensor) -> Tensor:
        product: Any = torch.ops.aten._int_mm  # noqa: SLF001 - torch's own name for it
        if len(whole) <= WEIGHT_FIRST_ROWS:
            found = product(self.values, whole.t()).t()
        else:
            found = product(whole, self.values.t())
        return found * self.scale


class WidenedInt8Linear(PlainInt8Linear):
    """By products in the dtype of the activations, which are not rounded."""

    def multiply(self, rows: Tensor) -> Tensor:
        """See `Int8Linear`."""
        given = rows.new_empty(len(rows), self.out_features)
        scale = self.scale.to(rows.dtype)
        step = max(1, TILE_WEIGHTS // self.in_features)
        for first in range(0, self.out_features, step):
            part = slice(first, first + step)
            tile = self.values[part].to(rows.dtype)
            torch.mul(functional.linear(rows, tile), scale[part], out=given[:, part])
        return given if self.bias is None else given.add_(self.bias)


def has_amx() -> bool:
    """Whether this processor multiplies tiles of bfloat16 and of 8 bits."""
    return bool(torch.cpu._is_amx_tile_supported())  # noqa: SLF001 - torch has no public name for it
