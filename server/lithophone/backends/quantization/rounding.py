"""Activations in 8 bits, row by row.

Owns how a row of activations becomes whole numbers, so that what a row gives never depends on the rows beside it. A row whose
largest number stands far out would lose its small ones in 8 bits: what the rounding leaves over is multiplied too, as one
more row, which makes such a row as exact as 15 bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, linalg

LEVELS: Final = 127

FAR_OUT: Final = 16.0
"""Largest number of a row by its root mean square from which on 8 bits are not enough: their error is then 4 %."""

LEAST_SIZE: Final = 1e-30  # a row of zeros has no scale


def multiply_rounded(rows: Tensor, product: Callable[[Tensor], Tensor], levels: int = LEVELS) -> Tensor:
    """A product with rows in 8 bits.

    Args:
        rows: [rows, in], of any float dtype.
        product: Takes float32 [n, in] of whole numbers from minus to plus `levels`, and gives [n, out].
        levels: Whole numbers on either side of zero.

    Returns:
        float32 [rows, out].
    """
    largest = linalg.vector_norm(rows, torch.inf, dim=1, dtype=torch.float32).clamp_(min=LEAST_SIZE)
    size = linalg.vector_norm(rows, dim=1, dtype=torch.float32) / rows.shape[1] ** 0.5
    scaled = rows * (levels / largest).unsqueeze(1)
    whole = scaled.round()
    far = (largest > FAR_OUT * size).nonzero().squeeze(1)
    if not len(far):
        return product(whole).float().mul_((largest / levels).unsqueeze(1))
    left = (scaled[far] - whole[far]).mul_(2 * levels).round_()
    both = product(torch.cat([whole, left])).float()
    found = both[: len(rows)].index_add_(0, far, both[len(rows) :], alpha=1 / (2 * levels))
    return found.mul_((largest / levels).unsqueeze(1))
