"""Products of one token with a matrix in Triton, with what stands before and behind them in a layer.

One token takes the time of reading the matrix: nothing is multiplied twice, so matrix units have no part in it, and norm, gate
and residual come at no kernel of their own. From two tokens on the library's products are faster (docs/hardware).
"""

# pyright: reportMissingImports=false, reportIndexIssue=false, reportUntypedFunctionDecorator=false
# See triton_kernels.

from __future__ import annotations

from typing import Final

import triton
import triton.language as tl
from torch import Tensor

from lithophone.backends.gpu.triton_overlap import (
    LINE_BYTES,
    fetch_ahead,
    launched,
    let_next_begin,
    wait_for_previous,
)
from lithophone.backends.gpu.tuning import Tile

MOST_AHEAD: Final = 2048
"""Features of each row that are fetched while the kernel before is still at work: with all programs, a fifth of the cache."""


@triton.jit
def _fetch_rows(
    weight: tl.tensor,
    first: tl.tensor,
    outputs: tl.tensor,
    features: tl.tensor,
    OUTPUTS: tl.constexpr,
    FEATURES: tl.constexpr,
    LINE: tl.constexpr,
) -> None:
    column = tl.minimum(first + tl.arange(0, OUTPUTS), outputs - 1)
    step = tl.minimum(tl.arange(0, FEATURES // LINE) * LINE, features - 1)
    fetch_ahead(weight + column[:, None].to(tl.int64) * features + step[None, :])


@triton.jit
def _normed_product(
    hidden: tl.tensor,
    norm: tl.tensor,
    weight: tl.tensor,
    out: tl.tensor,
    epsilon: tl.tensor,
    outputs: tl.tensor,
    features: tl.tensor,
    GATED: tl.constexpr,
    OUTPUTS: tl.constexpr,
    FEATURES: tl.constexpr,
    STAGES: tl.constexpr,
    LINE: tl.constexpr,
    OVERLAPS: tl.constexpr,
) -> None:
    let_next_begin(OVERLAPS)
    step = tl.arange(0, FEATURES)
    known = step < features
    factor = tl.load(norm + step, mask=known, other=0.0).to(tl.float32)
    upper = weight + outputs.to(tl.int64) * features
    if OVERLAPS:
        _fetch_rows(weight, tl.program_id(0) * OUTPUTS, outputs, features, OUTPUTS, FEATURES, LINE)
        if GATED:
            _fetch_rows(upper, tl.program_id(0) * OUTPUTS, outputs, features, OUTPUTS, FEATURES, LINE)
    wait_for_previous(OVERLAPS)
    wide = tl.load(hidden + step, mask=known, other=0.0).to(tl.float32)
    shrunk = tl.rsqrt(tl.sum(wide * wide, axis=0) / features + epsilon)
    normed = (wide * shrunk).to(weight.dtype.element_ty).to(tl.float32)
    part = (normed * factor).to(weight.dtype.element_ty).to(tl.float32)[None, :]
    for tile in tl.range(tl.program_id(0), tl.cdiv(outputs, OUTPUTS), tl.num_programs(0), num_stages=STAGES):
        column = tile * OUTPUTS + tl.arange(0, OUTPUTS)
        inside = column < outputs
        read = inside[:, None] & known[None, :]
        cells = column[:, None].to(tl.int64) * features + step[None, :]
        block = tl.load(weight + cells, mask=read, other=0.0, eviction_policy="evict_first")
        found = tl.sum(block.to(tl.float32) * part, axis=1)
        if GATED:
            block = tl.load(upper + cells, mask=read, other=0.0, eviction_policy="evict_first")
            found = (found * tl.sigmoid(found)) * tl.sum(block.to(tl.float32) * part, axis=1)
        tl.store(out + column, found.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _add_product(
    into: tl.tensor,
    hidden: tl.tensor,
    weight: tl.tensor,
    scale: tl.tensor,
    outputs: tl.tensor,
    features: tl.tensor,
    OUTPUTS: tl.constexpr,
    FEATURES: tl.constexpr,
    STAGES: tl.constexpr,
    AHEAD: tl.constexpr,
    LINE: tl.constexpr,
    OVERLAPS: tl.constexpr,
) -> None:
    let_next_begin(OVERLAPS)
    if OVERLAPS:
        _fetch_rows(weight, tl.program_id(0) * OUTPUTS, outputs, features, OUTPUTS, AHEAD, LINE)
    wait_for_previous(OVERLAPS)
    column = tl.program_id(0) * OUTPUTS + tl.arange(0, OUTPUTS)
    inside = column < outputs
    step = tl.arange(0, FEATURES)
    matrix = weight + column[:, None].to(tl.int64) * features + step[None, :]
    total = tl.zeros([OUTPUTS, FEATURES], tl.float32)
    for start in tl.range(0, features, FEATURES, num_stages=STAGES):
        known = start + step < features
        part = tl.load(hidden + start + step, mask=known, other=0.0).to(tl.float32)
        read = inside[:, None] & known[None, :]
        block = tl.load(matrix + start, mask=read, other=0.0, eviction_policy="evict_first")
        total += block.to(tl.float32) * part[None, :]
    before = tl.load(into + column, mask=inside, other=0.0).to(tl.float32)
    found = before + tl.sum(total, axis=1) * scale
    tl.store(into + column, found.to(into.dtype.element_ty), mask=inside)


def normed_product(
    hidden: Tensor,
    norm: Tensor,
    epsilon: float,
    weight: Tensor,
    tile: Tile,
    *,
    gated: bool,
    overlaps: bool = False,
) -> Tensor:
    """[1, outputs]: the product of the root-mean-square norm of `hidden` [1, features] and `weight`.

    Args:
        hidden: See above.
        norm: [features]: the norm's weight.
        epsilon: The norm's.
        weight: [outputs, features], or [2 * outputs, features] if gated.
        tile: Of the kernel.
        gated: SiLU of the first half of the product, times the second.
        overlaps: See `triton_overlap`.
    """
    out = hidden.new_empty(1, len(weight) // 2 if gated else len(weight))
    outputs, features = out.shape[1], hidden.shape[1]
    _normed_product[(min(tile.programs, triton.cdiv(outputs, tile.outputs)),)](
        hidden,
        norm,
        weight,
        out,
        epsilon,
        outputs,
        features,
        GATED=gated,
        OUTPUTS=tile.outputs,
        FEATURES=triton.next_power_of_2(features),
        STAGES=tile.stages,
        LINE=LINE_BYTES // weight.itemsize,
        num_warps=tile.warps,
        **launched(overlaps=overlaps),
    )
    return out


def add_product(
    into: Tensor, hidden: Tensor, weight: Tensor, scale: float, tile: Tile, *, overlaps: bool = False
) -> None:
    """Add `scale` times the product of `hidden` [1, features] and `weight` [outputs, features] to `into` [1, outputs]."""
    outputs, features = weight.shape
    _add_product[(triton.cdiv(outputs, tile.outputs),)](
        into,
        hidden,
        weight,
        scale,
        outputs,
        features,
        OUTPUTS=tile.outputs,
        FEATURES=tile.features,
        STAGES=tile.stages,
        AHEAD=MOST_AHEAD,
        LINE=LINE_BYTES // weight.itemsize,
        num_warps=tile.warps,
        **launched(overlaps=overlaps),
    )
