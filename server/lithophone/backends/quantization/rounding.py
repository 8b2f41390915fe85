"""Activations in 8 bits, row by row.

Owns how a row of activations becomes whole numbers, so that what a row gives never depends on the rows beside it. A row whose
largest number stands far out would lose its small ones in 8 bits: what the rounding leaves over is multiplied too, as one
more row, which makes such a row as exact as 15 bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import torch
from torch import Tensor, linalg

LEVELS: Final = 127

FAR_OUT: Final = 16.0
"""Largest number of a row by its root mean square from which on 8 bits are not enough: their error is then 4 %."""

LEAST_SIZE: Final = 1e-30  # a row of zeros has no scale

NONE_FAR: Final = torch.empty(0, dtype=torch.long)

BLOCK_NUMBERS: Final = 1 << 20
"""Of activations at a time: what is made of them on the way stays in the cache, or is at least memory that was used before."""


class Rounded(NamedTuple):
    """Some rows in whole numbers.

    Attributes:
        whole: [n, in], from minus to plus `levels`: the rows, and behind them what the rounding left of those far out.
        sizes: float32 [rows, 1]: what a whole number of each row stands for.
        far: Which rows are far out.
        levels: Whole numbers on either side of zero.
    """

    whole: Tensor
    sizes: Tensor
    far: Tensor
    levels: int

    def restored(self, product: Tensor) -> Tensor:
        """Of the product [n, out] of `whole` the product of the rows, float32 [rows, out]; it may be in the same memory."""
        wide = product.float()
        if len(self.far):
            rows = len(self.sizes)
            wide = wide[:rows].index_add_(0, self.far, wide[rows:], alpha=1 / (2 * self.levels))
        return wide.mul_(self.sizes)


def rounded_blocks(
    rows: Tensor, out_features: int, levels: int = LEVELS, *, dtype: torch.dtype = torch.float32
) -> Iterator[Rounded]:
    """Rows in whole numbers, as many at a time as are well multiplied together.

    Args:
        rows: [rows, in], of any float dtype.
        out_features: Of what they are multiplied by.
        levels: Whole numbers on either side of zero.
        dtype: Of the whole numbers.
    """
    for block in rows.split(max(1, BLOCK_NUMBERS // max(out_features, rows.shape[1]))):
        yield _rounded(block, levels, dtype)


def _rounded(rows: Tensor, levels: int, dtype: torch.dtype) -> Rounded:
    wide = rows.to(torch.float32, copy=True)  # once: what follows is several times faster than in 16 bits
    largest = wide.abs().amax(dim=1, keepdim=True).clamp_(min=LEAST_SIZE)
    far = largest > linalg.vector_norm(wide, dim=1, keepdim=True).mul_(FAR_OUT / rows.shape[1] ** 0.5)
    sizes = largest.div_(levels)
    scaled = wide.div_(sizes)
    if not far.any():
        return Rounded(scaled.round_().to(dtype), sizes, NONE_FAR, levels)
    whole, where = scaled.round(), far.nonzero()[:, 0]
    left = (scaled[where] - whole[where]).mul_(2 * levels).round_()
    return Rounded(torch.cat([whole, left]).to(dtype), sizes, where, levels)
