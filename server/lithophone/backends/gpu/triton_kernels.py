"""The kernels in Triton, which compiles them for CUDA and ROCm alike. Needs the `triton` that comes with torch's GPU wheels.

Sums and softmax are in float32 whatever the dtype. Tried by Triton's interpreter on a CPU; see docs/hardware for cards.
"""

# pyright: reportMissingImports=false, reportIndexIssue=false, reportUntypedFunctionDecorator=false
# Triton comes with torch on GPUs, and is no dependency of ours; its kernels are started by an index, which has no type.

from __future__ import annotations

from typing import Final

import torch
import triton
import triton.language as tl
from torch import Tensor

from lithophone.backends.gpu.kernels import Heads, Pages, Where
from lithophone.backends.gpu.pages import PAGE_POSITIONS

GATED_BLOCK: Final = 1024
LEAST_ROWS: Final = 16  # of a matrix product in Triton


@triton.jit
def _rms_norm(hidden: tl.tensor, weight: tl.tensor, out: tl.tensor, epsilon: tl.tensor, features: tl.tensor, BLOCK: tl.constexpr) -> None:
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    inside = columns < features
    values = tl.load(hidden + row * features + columns, mask=inside, other=0.0).to(tl.float32)
    variance = tl.sum(values * values, axis=0) / features
    normed = (values * tl.rsqrt(variance + epsilon)).to(out.dtype.element_ty)
    scale = tl.load(weight + columns, mask=inside, other=0.0).to(tl.float32)
    scaled = (normed.to(tl.float32) * scale).to(out.dtype.element_ty)
    tl.store(out + row * features + columns, scaled, mask=inside)


@triton.jit
def _rotate_and_store(
    projected: tl.tensor,
    slots: tl.tensor,
    positions: tl.tensor,
    table: tl.tensor,
    rotation: tl.tensor,
    keys: tl.tensor,
    values: tl.tensor,
    table_width: tl.tensor,
    QUERIES: tl.constexpr,
    KEYS: tl.constexpr,
    WIDTH: tl.constexpr,
    PAGE: tl.constexpr,
) -> None:
    token = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1)
    position = tl.load(positions + token)
    slot = tl.load(slots + token).to(tl.int64)
    page = tl.load(table + slot * table_width + position // PAGE).to(tl.int64)
    stored = (page * PAGE + position % PAGE) * KEYS * WIDTH
    source = projected + (token * (QUERIES + 2 * KEYS) + head) * WIDTH
    half = tl.arange(0, WIDTH // 2)
    first, second = tl.load(source + half), tl.load(source + WIDTH // 2 + half)
    if head < QUERIES + KEYS:
        cosine = tl.load(rotation + position * WIDTH + half)
        sine = tl.load(rotation + position * WIDTH + WIDTH // 2 + half)
        left, right = first.to(tl.float32), second.to(tl.float32)
        first = (left * cosine - right * sine).to(projected.dtype.element_ty)
        second = (right * cosine + left * sine).to(projected.dtype.element_ty)
        tl.store(source + half, first)
        tl.store(source + WIDTH // 2 + half, second)
    if head >= QUERIES:
        if head < QUERIES + KEYS:
            target = keys + stored + (head - QUERIES) * WIDTH
        else:
            target = values + stored + (head - QUERIES - KEYS) * WIDTH
        tl.store(target + half, first)
        tl.store(target + WIDTH // 2 + half, second)


@triton.jit
def _attend(
    projected: tl.tensor,
    slots: tl.tensor,
    positions: tl.tensor,
    table: tl.tensor,
    keys: tl.tensor,
    values: tl.tensor,
    out: tl.tensor,
    table_width: tl.tensor,
    scale: tl.tensor,
    QUERIES: tl.constexpr,
    KEYS: tl.constexpr,
    WIDTH: tl.constexpr,
    PAGE: tl.constexpr,
    ROWS: tl.constexpr,
) -> None:
    token = tl.program_id(0).to(tl.int64)
    key_head = tl.program_id(1)
    position = tl.load(positions + token)
    pages = table + tl.load(slots + token).to(tl.int64) * table_width
    rows = tl.arange(0, ROWS)
    shared = QUERIES // KEYS
    within = tl.arange(0, PAGE)
    columns = tl.arange(0, WIDTH)
    own = rows[:, None] < shared
    heads = key_head * shared + rows[:, None]
    query = tl.load(
        projected + (token * (QUERIES + 2 * KEYS) + heads) * WIDTH + columns[None, :], mask=own, other=0.0
    )
    largest = tl.full([ROWS], float("-inf"), tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    summed = tl.zeros([ROWS, WIDTH], tl.float32)
    for start in range(0, position + 1, PAGE):
        page = tl.load(pages + start // PAGE).to(tl.int64)
        seen = start + within <= position
        cells = ((page * PAGE + within) * KEYS + key_head) * WIDTH
        key = tl.load(keys + cells[None, :] + columns[:, None], mask=seen[None, :], other=0.0)
        scores = tl.dot(query, key, input_precision="ieee") * scale
        scores = tl.where(seen[None, :], scores, float("-inf"))
        higher = tl.maximum(largest, tl.max(scores, axis=1))
        weights = tl.exp(scores - higher[:, None])
        fading = tl.exp(largest - higher)
        value = tl.load(values + cells[:, None] + columns[None, :], mask=seen[:, None], other=0.0)
        part = tl.dot(weights.to(value.dtype), value, input_precision="ieee")
        summed = summed * fading[:, None] + part
        total = total * fading + tl.sum(weights, axis=1)
        largest = higher
    attended = (summed / total[:, None]).to(out.dtype.element_ty)
    tl.store(out + (token * QUERIES + heads) * WIDTH + columns[None, :], attended, mask=own)


@triton.jit
def _gated(gate_and_up: tl.tensor, out: tl.tensor, features: tl.tensor, BLOCK: tl.constexpr) -> None:
    row = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = columns < features
    gate = tl.load(gate_and_up + row * 2 * features + columns, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(gate_and_up + row * 2 * features + features + columns, mask=inside, other=0.0)
    opened = (gate * tl.sigmoid(gate)).to(out.dtype.element_ty)
    product = (opened.to(tl.float32) * up.to(tl.float32)).to(out.dtype.element_ty)
    tl.store(out + row * features + columns, product, mask=inside)


class TritonKernels:
    """See `Kernels`. The width of a head has to be a power of two, 16 or more."""

    def rms_norm(self, hidden: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        """See `Kernels`."""
        tokens, features = hidden.shape
        out = torch.empty_like(hidden)
        block = triton.next_power_of_2(features)
        _rms_norm[(tokens,)](hidden, weight, out, epsilon, features, BLOCK=block)
        return out

    def rotate_and_store(self, projected: Tensor, where: Where, pages: Pages, heads: Heads) -> None:
        """See `Kernels`."""
        _rotate_and_store[(len(projected), heads.queries + 2 * heads.keys)](
            projected,
            where.slots,
            where.positions,
            where.table,
            where.rotation,
            pages.keys,
            pages.values,
            where.table.shape[1],
            QUERIES=heads.queries,
            KEYS=heads.keys,
            WIDTH=heads.width,
            PAGE=PAGE_POSITIONS,
            num_warps=1,
        )

    def attend(self, projected: Tensor, where: Where, pages: Pages, heads: Heads) -> Tensor:
        """See `Kernels`."""
        out = projected.new_empty(len(projected), heads.queries * heads.width)
        rows = max(LEAST_ROWS, triton.next_power_of_2(heads.queries // heads.keys))
        _attend[(len(projected), heads.keys)](
            projected,
            where.slots,
            where.positions,
            where.table,
            pages.keys,
            pages.values,
            out,
            where.table.shape[1],
            heads.scale,
            QUERIES=heads.queries,
            KEYS=heads.keys,
            WIDTH=heads.width,
            PAGE=PAGE_POSITIONS,
            ROWS=rows,
        )
        return out

    def gated(self, gate_and_up: Tensor) -> Tensor:
        """See `Kernels`."""
        tokens, features = len(gate_and_up), gate_and_up.shape[1] // 2
        out = gate_and_up.new_empty(tokens, features)
        grid = (tokens, triton.cdiv(features, GATED_BLOCK))
        _gated[grid](gate_and_up, out, features, BLOCK=GATED_BLOCK)
        return out
