"""Attention over pages in Triton: each token over its sequence up to itself.

Drafted tokens of a sequence stand one behind the other and look at the same keys: the first of them in each group of tokens is
answered for by a program that reads the keys once for all, and the programs of the others have nothing to do. So a pass needs
no more than to know how many tokens it has, and may be captured as a graph.

With few tokens there are fewer programs than a GPU has processors, so the positions of a sequence are split among several, and
a second kernel joins their parts (flash decoding; Dao et al., 2023).
"""

# pyright: reportMissingImports=false, reportIndexIssue=false, reportUntypedFunctionDecorator=false
# See triton_kernels.

from __future__ import annotations

from typing import Final, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from lithophone.backends.gpu.kernels import Heads, Pages, Where
from lithophone.backends.gpu.pages import PAGE_POSITIONS
from lithophone.backends.gpu.triton_overlap import launched, let_next_begin, wait_for_previous

LEAST_ROWS: Final = 16  # of a matrix product in Triton
PROGRAMS_WANTED: Final = 512
MOST_SPLITS: Final = 16
ALONE_TOKENS: Final = 64
FEW_GROUPED: Final = (
    4  # with four query heads to a key head, these fill the rows that one token has to pay for
)


@triton.jit
def _run_of(
    slots: tl.tensor,
    positions: tl.tensor,
    token: tl.tensor,
    slot: tl.tensor,
    position: tl.tensor,
    tokens: tl.tensor,
    GROUP: tl.constexpr,
) -> tl.tensor:
    place = token % GROUP
    before = tl.load(slots + token - 1, mask=place > 0, other=-1)
    before_position = tl.load(positions + token - 1, mask=place > 0, other=-1)
    follows = (before == slot) & (before_position + 1 == position)
    step = tl.arange(0, GROUP)
    near = (place + step < GROUP) & (token + step < tokens)
    same = tl.load(slots + token + step, mask=near, other=-1) == slot
    same &= tl.load(positions + token + step, mask=near, other=-1) == position + step
    return tl.where(follows, 0, tl.sum(same.to(tl.int32), axis=0))


@triton.jit(do_not_specialize=["tokens"])
def _attend(
    projected: tl.tensor,
    slots: tl.tensor,
    positions: tl.tensor,
    table: tl.tensor,
    keys: tl.tensor,
    values: tl.tensor,
    out: tl.tensor,
    sums: tl.tensor,
    tokens: tl.tensor,
    table_width: tl.tensor,
    scale: tl.tensor,
    QUERIES: tl.constexpr,
    KEYS: tl.constexpr,
    WIDTH: tl.constexpr,
    PAGE: tl.constexpr,
    BLOCK: tl.constexpr,
    GROUP: tl.constexpr,
    ROWS: tl.constexpr,
    SPLITS: tl.constexpr,
    COLUMNS: tl.constexpr,
    OVERLAPS: tl.constexpr,
) -> None:
    let_next_begin(OVERLAPS)
    token = tl.program_id(0)
    key_head = tl.program_id(1)
    split = tl.program_id(2)
    position = tl.load(positions + token)
    slot = tl.load(slots + token)
    run = _run_of(slots, positions, token, slot, position, tokens, GROUP)
    pages = table + slot.to(tl.int64) * table_width
    rows = tl.arange(0, ROWS)
    shared = QUERIES // KEYS
    ahead = rows // shared
    within = tl.arange(0, BLOCK)
    columns = tl.arange(0, COLUMNS)
    inside = columns < WIDTH
    answered = ahead < run
    own = answered[:, None] & inside[None, :]
    query_row = token.to(tl.int64) + ahead
    head = key_head * shared + rows % shared
    wait_for_previous(OVERLAPS)
    query = tl.load(
        projected + (query_row * (QUERIES + 2 * KEYS) + head)[:, None] * WIDTH + columns[None, :],
        mask=own,
        other=0.0,
    )
    largest = tl.full([ROWS], float("-inf"), tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    summed = tl.zeros([ROWS, COLUMNS], tl.float32)
    end = tl.where(run > 0, position + run, 0)
    for start in range(split * BLOCK, end, SPLITS * BLOCK):
        page = tl.load(pages + start // PAGE).to(tl.int64)
        there = start + within < end
        cells = ((page * PAGE + start % PAGE + within) * KEYS + key_head) * WIDTH
        key = tl.load(
            keys + cells[None, :] + columns[:, None], mask=there[None, :] & inside[:, None], other=0.0
        )
        value = tl.load(
            values + cells[:, None] + columns[None, :], mask=there[:, None] & inside[None, :], other=0.0
        )
        scores = tl.dot(query, key, input_precision="ieee") * scale
        seen = (start + within)[None, :] <= (position + ahead)[:, None]
        scores = tl.where(seen, scores, float("-inf"))
        higher = tl.maximum(largest, tl.max(scores, axis=1))
        finite = tl.where(
            higher > float("-inf"), higher, 0.0
        )  # a row may see nothing of a split's first block
        weights = tl.exp(scores - finite[:, None])
        fading = tl.exp(largest - finite)
        part = tl.dot(weights.to(value.dtype), value, input_precision="ieee")
        summed = summed * fading[:, None] + part
        total = total * fading + tl.sum(weights, axis=1)
        largest = higher
    if SPLITS == 1:
        attended = (summed / tl.where(answered, total, 1.0)[:, None]).to(out.dtype.element_ty)
        tl.store(out + (query_row * QUERIES + head)[:, None] * WIDTH + columns[None, :], attended, mask=own)
    else:
        place = (query_row * QUERIES + head) * SPLITS + split
        tl.store(out + place[:, None] * WIDTH + columns[None, :], summed, mask=own)
        tl.store(sums + place * 2, largest, mask=answered)
        tl.store(sums + place * 2 + 1, total, mask=answered)


@triton.jit
def _join(
    parts: tl.tensor,
    sums: tl.tensor,
    out: tl.tensor,
    WIDTH: tl.constexpr,
    SPLITS: tl.constexpr,
    COLUMNS: tl.constexpr,
    OVERLAPS: tl.constexpr,
) -> None:
    let_next_begin(OVERLAPS)
    wait_for_previous(OVERLAPS)
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


class Division(NamedTuple):
    """How attention is divided among programs.

    Attributes:
        group: Tokens among which those of one sequence share a program; a power of two.
        splits: Programs that share the positions of a sequence; a power of two.
    """

    group: int
    splits: int

    @classmethod
    def of(cls, tokens: int, key_heads: int, most_grouped: int) -> Division:
        """For so many tokens, of which nobody knows whose they are.

        Up to `ALONE_TOKENS` they may well be of as many sequences, and programs keep to the rows that one token fills.
        """
        group = FEW_GROUPED if tokens <= ALONE_TOKENS else most_grouped
        splits = 1
        while splits < MOST_SPLITS and 2 * splits * tokens * key_heads <= PROGRAMS_WANTED:
            splits *= 2
        return cls(group, splits)


def block_of(keys_bytes: int, width: int, item_bytes: int) -> int:
    """How many positions a program looks at at a time; divides a page."""
    return min(PAGE_POSITIONS, max(LEAST_ROWS, keys_bytes // (width * item_bytes)))


def attend(
    projected: Tensor,
    where: Where,
    pages: Pages,
    heads: Heads,
    keys_bytes: int,
    division: Division,
    *,
    overlaps: bool = False,
) -> Tensor:
    """See `Kernels`, `Tuning` and `triton_overlap`."""
    tokens, (group, splits) = len(projected), division
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
        tokens,
        where.table.shape[1],
        heads.scale,
        QUERIES=heads.queries,
        KEYS=heads.keys,
        WIDTH=heads.width,
        PAGE=PAGE_POSITIONS,
        BLOCK=block_of(keys_bytes, columns, projected.itemsize),
        GROUP=group,
        ROWS=max(LEAST_ROWS, triton.next_power_of_2(group * (heads.queries // heads.keys))),
        SPLITS=splits,
        COLUMNS=columns,
        **launched(overlaps=overlaps),
    )
    if splits > 1:
        _join[(tokens * heads.queries,)](
            parts,
            sums,
            out,
            WIDTH=heads.width,
            SPLITS=splits,
            COLUMNS=columns,
            num_warps=1,
            **launched(overlaps=overlaps),
        )
    return out
