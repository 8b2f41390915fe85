"""Products of the norm of a few tokens with a large matrix in Triton: one kernel where libraries need two or three.

For the one to a few dozen tokens of a step of decoding, the time of a product is that of reading its matrix, and the small
kernels before and behind it take a fifth of it again. Plain products are left to the library, which is as fast.
"""

# pyright: reportMissingImports=false, reportIndexIssue=false, reportUntypedFunctionDecorator=false
# See triton_kernels.

from __future__ import annotations

from typing import Final

import torch
import triton
import triton.language as tl
from torch import Tensor

from lithophone.backends.gpu.tuning import Tile, Tuning

LEAST_ROWS: Final = 16  # of a matrix product in Triton


@triton.jit(do_not_specialize=["tokens"])
def _normed_product(
    hidden: tl.tensor,
    norm: tl.tensor,
    weight: tl.tensor,
    out: tl.tensor,
    epsilon: tl.tensor,
    tokens: tl.tensor,
    outputs: tl.tensor,
    features: tl.tensor,
    GATED: tl.constexpr,
    ROWS: tl.constexpr,
    OUTPUTS: tl.constexpr,
    FEATURES: tl.constexpr,
) -> None:
    row = tl.arange(0, ROWS)
    column = tl.program_id(0) * OUTPUTS + tl.arange(0, OUTPUTS)
    there = row < tokens
    inside = column < outputs
    step = tl.arange(0, FEATURES)
    read = hidden + row[:, None] * features + step[None, :]
    matrix = weight + column[None, :].to(tl.int64) * features + step[:, None]
    upper = matrix + outputs.to(tl.int64) * features
    squares = tl.zeros([ROWS], tl.float32)
    total = tl.zeros([ROWS, OUTPUTS], tl.float32)
    second = tl.zeros([ROWS, OUTPUTS], tl.float32)
    for start in range(0, features, FEATURES):
        wide = tl.load(read + start, mask=there[:, None], other=0.0).to(tl.float32)
        squares += tl.sum(wide * wide, axis=1)
        factor = tl.load(norm + start + step).to(tl.float32)
        part = (wide * factor[None, :]).to(weight.dtype.element_ty)
        block = tl.load(matrix + start, mask=inside[None, :], other=0.0, eviction_policy="evict_first")
        total = tl.dot(part, block, total)
        if GATED:
            block = tl.load(upper + start, mask=inside[None, :], other=0.0, eviction_policy="evict_first")
            second = tl.dot(part, block, second)
    shrunk = tl.rsqrt(squares / features + epsilon)[:, None]
    total *= shrunk
    if GATED:
        total = (total * tl.sigmoid(total)) * (second * shrunk)
    place = out + row[:, None] * outputs + column[None, :]
    tl.store(place, total.to(out.dtype.element_ty), mask=there[:, None] & inside[None, :])


def takes(hidden: Tensor, tile: Tile, tuning: Tuning) -> bool:
    """Whether the kernel is for such a product: few tokens, whole tiles of features, and bfloat16.

    The norm's division comes behind the product, and in float16 what is not yet divided could overflow.
    """
    tokens, features = hidden.shape
    return tokens <= tuning.most_tokens and hidden.dtype == torch.bfloat16 and features % tile.features == 0


def normed_product(
    hidden: Tensor, norm: Tensor, epsilon: float, weight: Tensor, tile: Tile, *, gated: bool
) -> Tensor:
    """[tokens, outputs]: the product of the root-mean-square norm of `hidden` [tokens, features] and `weight`.

    Args:
        hidden: See above.
        norm: [features]: the norm's weight.
        epsilon: The norm's.
        weight: [outputs, features], or [2 * outputs, features] if gated.
        tile: Of the kernel.
        gated: SiLU of the first half of the product, times the second.
    """
    tokens, features = hidden.shape
    out = hidden.new_empty(tokens, len(weight) // 2 if gated else len(weight))
    _normed_product[(triton.cdiv(out.shape[1], tile.outputs),)](
        hidden,
        norm,
        weight,
        out,
        epsilon,
        tokens,
        out.shape[1],
        features,
        GATED=gated,
        ROWS=max(LEAST_ROWS, triton.next_power_of_2(tokens)),
        OUTPUTS=tile.outputs,
        FEATURES=tile.features,
        num_warps=tile.warps,
        num_stages=tile.stages,
    )
    return out
