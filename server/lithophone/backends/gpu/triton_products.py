"""Products of one to four tokens with a matrix in Triton, with what stands before and behind them in a layer.

So few tokens take the time of reading the matrix, which multiplying by vectors does better than the tiles of matrix units do:
nothing is staged in shared memory, and what is read by all programs at a time is the most there can be. Norm, gate and
residual come at no kernel of their own. From a few more tokens on, the library's products are faster (docs/hardware).
"""

# pyright: reportMissingImports=false, reportIndexIssue=false, reportUntypedFunctionDecorator=false
# See triton_kernels.

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from lithophone.backends.gpu.tuning import Tile, Tuning


@triton.jit(do_not_specialize=["tokens"])
def _product(
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
    TOKENS: tl.constexpr,
    OUTPUTS: tl.constexpr,
    FEATURES: tl.constexpr,
) -> None:
    row = tl.arange(0, TOKENS)
    column = tl.program_id(0) * OUTPUTS + tl.arange(0, OUTPUTS)
    there = row < tokens
    inside = column < outputs
    step = tl.arange(0, FEATURES)
    read = hidden + row[:, None] * features + step[None, :]
    matrix = weight + column[:, None].to(tl.int64) * features + step[None, :]
    upper = matrix + outputs.to(tl.int64) * features
    total = tl.zeros([TOKENS, OUTPUTS, FEATURES], tl.float32)
    second = tl.zeros([TOKENS, OUTPUTS, FEATURES], tl.float32)
    shrunk = tl.zeros([TOKENS], tl.float32)
    if NORMED:
        for start in range(0, features, FEATURES):
            wide = tl.load(read + start, mask=there[:, None], other=0.0).to(tl.float32)
            shrunk += tl.sum(wide * wide, axis=1)
        shrunk = tl.rsqrt(shrunk / features + epsilon)
    for start in range(0, features, FEATURES):
        part = tl.load(read + start, mask=there[:, None], other=0.0)
        if NORMED:
            normed = (part.to(tl.float32) * shrunk[:, None]).to(part.dtype).to(tl.float32)
            factor = tl.load(norm + start + step).to(tl.float32)
            part = (normed * factor[None, :]).to(part.dtype)
        wide = part.to(tl.float32)[:, None, :]
        block = tl.load(matrix + start, mask=inside[:, None], other=0.0, eviction_policy="evict_first")
        total += wide * block.to(tl.float32)[None, :, :]
        if GATED:
            block = tl.load(upper + start, mask=inside[:, None], other=0.0, eviction_policy="evict_first")
            second += wide * block.to(tl.float32)[None, :, :]
    found = tl.sum(total, axis=2)
    if GATED:
        found = (found * tl.sigmoid(found)) * tl.sum(second, axis=2)
    place = out + row[:, None] * outputs + column[None, :]
    kept = there[:, None] & inside[None, :]
    if ADDED:
        found = tl.load(place, mask=kept, other=0.0).to(tl.float32) + found * scale
    tl.store(place, found.to(out.dtype.element_ty), mask=kept)


def takes(hidden: Tensor, tuning: Tuning) -> bool:
    """Whether the kernel is for such products: few tokens, 16 bits, and whole tiles of features."""
    tokens, features = hidden.shape
    few = tokens <= tuning.most_tokens and hidden.dtype != torch.float32
    return few and features % tuning.most_features == 0


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
    out = hidden.new_empty(len(hidden), len(weight) // 2 if gated else len(weight))
    _start(hidden, norm, weight, out, tile, epsilon=epsilon, gated=gated)
    return out


def add_product(into: Tensor, hidden: Tensor, weight: Tensor, scale: float, tile: Tile) -> None:
    """Add the product, `scale` times, to `into` [tokens, outputs]."""
    _start(hidden, None, weight, into, tile, scale=scale)


def _start(
    hidden: Tensor,
    norm: Tensor | None,
    weight: Tensor,
    out: Tensor,
    tile: Tile,
    *,
    epsilon: float = 0.0,
    scale: float = 1.0,
    gated: bool = False,
) -> None:
    tokens, features = hidden.shape
    _product[(triton.cdiv(out.shape[1], tile.outputs),)](
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
        ADDED=norm is None,
        TOKENS=triton.next_power_of_2(tokens),
        OUTPUTS=tile.outputs,
        FEATURES=tile.features,
        num_warps=tile.warps,
    )
