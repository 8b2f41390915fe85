"""Attention over pages in Triton: each token over its sequence up to itself.

With few tokens there are fewer programs than a GPU has processors, so the positions of a sequence are split among several, and
a second kernel joins their parts (flash decoding; Dao et al., 2023).
"""

# pyright: reportMissingImports=false, reportIndexIssue=false, reportUntypedFunctionDecorator=false
# See triton_kernels.

from __future__ import annotations

from typing import Final

import torch
import triton
import triton.language as tl
from torch import Tensor

from lithophone.backends.gpu.kernels import Heads, Pages, Where
from lithophone.backends.gpu.pages import PAGE_POSITIONS

LEAST_ROWS: Final = 16  # of a matrix product in Triton
PROGRAMS_WANTED: Final = 256
MOST_SPLITS: Final = 16


@triton.jit
def _attend(
    projected: tl.tensor,
    slots: tl.tensor,
    positions: tl.tensor,
    table: tl.tensor,
    keys: tl.tensor,
    values: tl.tensor,
    out: tl.tensor,
    sums: tl.tensor,
    table_width: tl.tensor,
    scale: tl.tensor,
    QUERIES: tl.constexpr,
    KEYS: tl.constexpr,
    WIDTH: tl.constexpr,
    PAGE: tl.constexpr,
    BLOCK: tl.constexpr,
    ROWS: tl.constexpr,
    SPLITS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    token = tl.program_id(0).to(tl.int64)
    key_head = tl.program_id(1)
    split = tl.program_id(2)
    position = tl.load(positions + token)
    pages = table + tl.load(slots + token).to(tl.int64) * table_width
    rows = tl.arange(0, ROWS)
    shared = QUERIES // KEYS
    within = tl.arange(0, BLOCK)
    columns = tl.arange(0, COLUMNS)
    inside = columns < WIDTH
    own = (rows[:, None] < shared) & inside[None, :]
    heads = key_head * shared + rows[:, None]
    query = tl.load(
        projected + (token * (QUERIES + 2 * KEYS) + heads) * WIDTH + columns[None, :], mask=own, other=0.0
    )
    largest = tl.full([ROWS], float("-inf"), tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    summed = tl.zeros([ROWS, COLUMNS], tl.float32)
    for start in range(split * BLOCK, position + 1, SPLITS * BLOCK):
        page = tl.load(pages + start // PAGE).to(tl.int64)
        seen = start + within <= position
        cells = ((page * PAGE + start % PAGE + within) * KEYS + key_head) * WIDTH
        key = tl.load(
            keys + cells[None, :] + columns[:, None], mask=seen[None, :] & inside[:, None], other=0.0
        )
        value = tl.load(
            values + cells[:, None] + columns[None, :], mask=seen[:, None] & inside[None, :], other=0.0
        )
        scores = tl.dot(query, key, input_precision="ieee") * scale
        scores = tl.where(seen[None, :], scores, float("-inf"))
        higher = tl.maximum(largest, tl.max(scores, axis=1))
        weights = tl.exp(scores - higher[:, None])
        fading = tl.exp(largest - higher)
        part = tl.dot(weights.to(value.dtype), value, input_precision="ieee")
        summed = summed * fading[:, None] + part
        total = total * fading + tl.sum(weights, axis=1)
        largest = higher
    if SPLITS == 1:
        attended = (summed / total[:, None]).to(out.dtype.element_ty)
        tl.store(out + (token * QUERIES + heads) * WIDTH + columns[None, :], attended, mask=own)
    else:
        place = (token * QUERIES + key_head * shared + rows) * SPLITS + split
        tl.store(out + place[:, None] * WIDTH + columns[None, :], summed, mask=own)
        tl.store(sums + place * 2, largest, mask=rows < shared)
        tl.store(sums + place * 2 + 1, total, mask=rows < shared)


@triton.jit
def _join(
    parts: tl.tensor,
    sums: tl.tensor,
    out: tl.tensor,
    WIDTH: tl.constexpr,
    SPLITS: tl.constexpr,
    COLUMNS: tl.constexpr,
) -> None:
    head = tl.program_id(0).to(tl.int64)
    places = head * SPLITS + tl.arange(0, SPLITS)
    columns = tl.arange(0, COLUMNS)
    inside = columns < WIDTH
    largest = tl.load(sums + places * 2)
    total = tl.load(sums + places * 2 + 1)
    part = tl.load(parts + places[:, None] * WIDTH + columns[None, :], mask=inside[None, :], other=0.0)
    share = tl.exp(largest - tl.max(largest, axis=0))
    whole = tl.sum(part * share[:, None], axis=0) / tl.sum(total * share, axis=0)
    tl.store(out + head * WIDTH + columns, whole.to(out.dtype.element_ty), mask=inside)


def splits_of(tokens: int, key_heads: int) -> int:
    """Among how many programs the positions of a sequence are split; a power of two."""
    splits = 1
    while splits < MOST_SPLITS and 2 * splits * tokens * key_heads <= PROGRAMS_WANTED:
        splits *= 2
    return splits


def block_of(keys_bytes: int, width: int, item_bytes: int) -> int:
    """How many positions a program looks at at a time; divides a page."""
    return min(PAGE_POSITIONS, max(LEAST_ROWS, keys_bytes // (width * item_bytes)))


def attend(projected: Tensor, where: Where, pages: Pages, heads: Heads, keys_bytes: int) -> Tensor:
    """See `Kernels` and `Tuning`."""
    tokens, splits = len(projected), splits_of(len(projected), heads.keys)
    out = projected.new_empty(tokens, heads.queries * heads.width)
    parts, sums = out, out
    columns = max(LEAST_ROWS, triton.next_power_of_2(heads.width))
    if splits > 1:
        parts = out.new_empty((tokens * heads.queries, splits, heads.width), dtype=torch.float32)
        sums = parts.new_empty((tokens * heads.queries, splits, 2))
    _attend[(tokens, heads.keys, splits)](
        projected,
        where.slots,
        where.positions,
        where.table,
        pages.keys,
        pages.values,
        parts,
        sums,
        where.table.shape[1],
        heads.scale,
        QUERIES=heads.queries,
        KEYS=heads.keys,
        WIDTH=heads.width,
        PAGE=PAGE_POSITIONS,
        BLOCK=block_of(keys_bytes, columns, projected.itemsize),
        ROWS=max(LEAST_ROWS, triton.next_power_of_2(heads.queries // heads.keys)),
        SPLITS=splits,
        COLUMNS=columns,
    )
    if splits > 1:
        _join[(tokens * heads.queries,)](
            parts, sums, out, WIDTH=heads.width, SPLITS=splits, COLUMNS=columns, num_warps=1
        )
    return out
