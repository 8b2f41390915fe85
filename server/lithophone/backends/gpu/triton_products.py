"""Products of a few tokens with a large matrix in Triton, which take the time of reading the matrix once.

Libraries choose kernels for many rows; for the one to a few dozen tokens of a step of decoding the matrix's bytes are all that
counts. What stands before and behind a product in a layer goes with it, so that a layer is fewer kernels.
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
def _thin(
    hidden: tl.tensor,
    norm: tl.tensor,
    weight: tl.tensor,
    out: tl.tensor,
    epsilon: tl.tensor,
    scale: tl.tensor,
    tokens: tl.tensor,
    outputs: tl.tensor,
    features: tl.tensor,
    NORMED: tl.constexpr,
    GATED: tl.constexpr,
    ADDED: tl.constexpr,
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
        part = tl.load(read + start, mask=there[:, None], other=0.0)
        if NORMED:
            wide = part.to(tl.float32)
            squares += tl.sum(wide * wide, axis=1)
            factor = tl.load(norm + start + step).to(tl.float32)
            part = (wide * factor[None, :]).to(part.dtype)
        block = tl.load(matrix + start, mask=inside[None, :], other=0.0, eviction_policy="evict_first")
        total = tl.dot(part, block, total)
        if GATED:
            block = tl.load(upper + start, mask=inside[None, :], other=0.0, eviction_policy="evict_first")
            second = tl.dot(part, block, second)
    if NORMED:
        shrunk = tl.rsqrt(squares / features + epsilon)[:, None]
        total *= shrunk
        second *= shrunk
    if GATED:
        total = (total * tl.sigmoid(total)) * second
    place = out + row[:, None] * outputs + column[None, :]
    kept = there[:, None] & inside[None, :]
    if ADDED:
        before = tl.load(place, mask=kept, other=0.0).to(tl.float32)
        total = before + total * scale
    tl.store(place, total.to(out.dtype.element_ty), mask=kept)


def takes(tokens: int, weight: Tensor, tuning: Tuning) -> bool:
    """Whether the kernel is for such a product: few tokens, 16 bits, and whole tiles of features."""
    few = tokens <= tuning.most_tokens
    return few and weight.dtype != torch.float32 and weight.shape[1] % tuning.tile.features == 0


def thin_product(hidden: Tensor, weight: Tensor, tile: Tile) -> Tensor:
    """[tokens, outputs]: `hidden` [tokens, features] times `weight` [outputs, features]."""
    out = hidden.new_empty(len(hidden), len(weight))
    return _started(hidden, None, weight, out, tile)


def normed_product(hidden: Tensor, norm: Tensor, epsilon: float, weight: Tensor, tile: Tile) -> Tensor:
    """The product of the root-mean-square norm of `hidden`."""
    out = hidden.new_empty(len(hidden), len(weight))
    return _started(hidden, norm, weight, out, tile, epsilon=epsilon)


def normed_gated_product(hidden: Tensor, norm: Tensor, epsilon: float, weight: Tensor, tile: Tile) -> Tensor:
    """[tokens, outputs]: SiLU of the first half of the normed product, times the second."""
    out = hidden.new_empty(len(hidden), len(weight) // 2)
    return _started(hidden, norm, weight, out, tile, epsilon=epsilon, gated=True)


def add_product(into: Tensor, hidden: Tensor, weight: Tensor, scale: float, tile: Tile) -> None:
    """Add the product, `scale` times, to `into` [tokens, outputs]."""
    _started(hidden, None, weight, into, tile, scale=scale, added=True)


def _started(
    hidden: Tensor,
    norm: Tensor | None,
    weight: Tensor,
    out: Tensor,
    tile: Tile,
    *,
    epsilon: float = 0.0,
    scale: float = 1.0,
    gated: bool = False,
    added: bool = False,
) -> Tensor:
    tokens, features = hidden.shape
    _thin[(triton.cdiv(out.shape[1], tile.outputs),)](
        hidden,
        weight if norm is None else norm,
        weight,
        out,
        epsilon,
        scale,
        tokens,
        out.shape[1],
        features,
        NORMED=norm is not None,
        GATED=gated,
        ADDED=added,
        ROWS=max(LEAST_ROWS, triton.next_power_of_2(tokens)),
        OUTPUTS=tile.outputs,
        FEATURES=tile.features,
        num_warps=tile.warps,
        num_stages=tile.stages,
    )
    return out
