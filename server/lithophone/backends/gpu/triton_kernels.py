"""The kernels in Triton, which compiles them for CUDA and ROCm alike. Needs the `triton` that comes with torch's GPU wheels.

Sums and softmax are in float32 whatever the dtype. Tried on an NVIDIA H200, and compiled for others (docs/hardware).
"""

# pyright: reportMissingImports=false, reportIndexIssue=false, reportUntypedFunctionDecorator=false
# Triton comes with torch on GPUs, and is no dependency of ours; its kernels are started by an index, which has no type.

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import structlog
import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional

from lithophone.backends.gpu import triton_products as products
from lithophone.backends.gpu.choosing import Case, Choices, one_token, replayed_us
from lithophone.backends.gpu.kernels import Heads, Layer, Pages, Where
from lithophone.backends.gpu.pages import PAGE_POSITIONS
from lithophone.backends.gpu.triton_attention import Division, attend
from lithophone.backends.gpu.triton_overlap import launched, let_next_begin, wait_for_previous
from lithophone.backends.gpu.tuning import Tile, Tuning

log = structlog.get_logger(__name__)

GATED_BLOCK: Final = 1024
ROTATED_HEADS: Final = 16
SAMPLED_LAYERS: Final = 16
NORMED, GATED, ADDED = "normed", "gated", "added"


@triton.jit
def _rms_norm(
    hidden: tl.tensor,
    weight: tl.tensor,
    out: tl.tensor,
    epsilon: tl.tensor,
    features: tl.tensor,
    BLOCK: tl.constexpr,
    OVERLAPS: tl.constexpr,
) -> None:
    let_next_begin(OVERLAPS)
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    inside = columns < features
    scale = tl.load(weight + columns, mask=inside, other=0.0).to(tl.float32)
    wait_for_previous(OVERLAPS)
    values = tl.load(hidden + row * features + columns, mask=inside, other=0.0).to(tl.float32)
    variance = tl.sum(values * values, axis=0) / features
    normed = (values * tl.rsqrt(variance + epsilon)).to(out.dtype.element_ty)
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
    HEADS: tl.constexpr,
    HALF: tl.constexpr,
    OVERLAPS: tl.constexpr,
) -> None:
    let_next_begin(OVERLAPS)
    token = tl.program_id(0).to(tl.int64)
    head = (tl.program_id(1) * HEADS + tl.arange(0, HEADS))[:, None]
    half = tl.arange(0, HALF)[None, :]
    inside = (head < QUERIES + 2 * KEYS) & (half < WIDTH // 2)
    position = tl.load(positions + token)
    slot = tl.load(slots + token).to(tl.int64)
    page = tl.load(table + slot * table_width + position // PAGE).to(tl.int64)
    stored = (page * PAGE + position % PAGE) * KEYS * WIDTH
    source = projected + (token * (QUERIES + 2 * KEYS) + head) * WIDTH + half
    turns = head < QUERIES + KEYS
    angle = rotation + position * WIDTH + half
    cosine = tl.where(turns, tl.load(angle, mask=half < WIDTH // 2, other=0.0), 1.0)
    sine = tl.where(turns, tl.load(angle + WIDTH // 2, mask=half < WIDTH // 2, other=0.0), 0.0)
    wait_for_previous(OVERLAPS)
    first = tl.load(source, mask=inside, other=0.0)
    second = tl.load(source + WIDTH // 2, mask=inside, other=0.0)
    left, right = first.to(tl.float32), second.to(tl.float32)
    first = (left * cosine - right * sine).to(projected.dtype.element_ty)
    second = (right * cosine + left * sine).to(projected.dtype.element_ty)
    tl.store(source, first, mask=inside & turns)
    tl.store(source + WIDTH // 2, second, mask=inside & turns)
    is_key = inside & turns & (head >= QUERIES)
    key = keys + stored + (head - QUERIES) * WIDTH + half
    tl.store(key, first, mask=is_key)
    tl.store(key + WIDTH // 2, second, mask=is_key)
    is_value = inside & (head >= QUERIES + KEYS)
    value = values + stored + (head - QUERIES - KEYS) * WIDTH + half
    tl.store(value, first, mask=is_value)
    tl.store(value + WIDTH // 2, second, mask=is_value)


@triton.jit
def _gated(
    gate_and_up: tl.tensor,
    out: tl.tensor,
    features: tl.tensor,
    BLOCK: tl.constexpr,
    OVERLAPS: tl.constexpr,
) -> None:
    let_next_begin(OVERLAPS)
    wait_for_previous(OVERLAPS)
    row = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = columns < features
    gate = tl.load(gate_and_up + row * 2 * features + columns, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(gate_and_up + row * 2 * features + features + columns, mask=inside, other=0.0)
    opened = (gate * tl.sigmoid(gate)).to(out.dtype.element_ty)
    product = (opened.to(tl.float32) * up.to(tl.float32)).to(out.dtype.element_ty)
    tl.store(out + row * features + columns, product, mask=inside)


class TritonKernels:
    """See `Kernels`.

    Args:
        tuning: For the kind of GPU.
        overlaps: Each kernel begins while the one before it still runs; see `triton_overlap`.
    """

    def __init__(self, tuning: Tuning, *, overlaps: bool = False) -> None:
        self._tuning = tuning
        self._overlaps = overlaps
        self._choices = Choices()

    def tune(self, layers: Sequence[Layer]) -> None:
        """See `Kernels`; in float32 products are left to the library."""
        self._tune_products(layers[:SAMPLED_LAYERS])
        if self._overlaps:
            self._overlaps = self._faster_overlapping(layers[:SAMPLED_LAYERS])

    def _faster_overlapping(self, layers: Sequence[Layer]) -> bool:
        """Whether the products of one token are, layer by layer."""
        hidden = one_token(layers[0].project, layers[0].project.shape[1])

        def compute(layer: Layer) -> None:
            projected = self.normed_product(hidden, layer.first_norm, 1e-5, layer.project)
            self.add_product(hidden, projected[:, : layer.combine.shape[1]], layer.combine, 0.1)
            gated = self.normed_gated_product(hidden, layer.second_norm, 1e-5, layer.gate_and_up)
            self.add_product(hidden, gated, layer.down, 0.1)

        def layer_us(*, overlaps: bool) -> float:
            self._overlaps = overlaps
            return replayed_us([lambda layer=layer: compute(layer) for layer in layers])

        alone_us, overlapping_us = layer_us(overlaps=False), layer_us(overlaps=True)
        log.info(
            "overlap_measured", one_by_one_us=round(alone_us, 1), overlapping_us=round(overlapping_us, 1)
        )
        return overlapping_us < alone_us

    def _tune_products(self, some: Sequence[Layer]) -> None:
        first = some[0]
        if first.project.dtype == torch.float32:
            return
        hidden, wide = (one_token(first.project, weight.shape[1]) for weight in (first.project, first.down))
        into = torch.zeros_like(hidden)

        def norm(matrix: Tensor, tile: Tile | None) -> Tensor:
            return self._normed_product(hidden, first.first_norm, 1e-5, matrix, tile)

        def gate(matrix: Tensor, tile: Tile | None) -> Tensor:
            return self._normed_gated_product(hidden, first.first_norm, 1e-5, matrix, tile)

        def add(matrix: Tensor, tile: Tile | None) -> None:
            self._add_product(into, hidden if matrix.shape[1] == hidden.shape[1] else wide, matrix, 1.0, tile)

        measure, tuning = self._choices.measure, self._tuning
        measure(NORMED, [layer.project for layer in some], norm, tuning.normed)
        measure(ADDED, [layer.combine for layer in some], add, tuning.added)
        measure(GATED, [layer.gate_and_up for layer in some], gate, tuning.normed)
        measure(ADDED, [layer.down for layer in some], add, tuning.added)

    def begin_one_by_one(self) -> bool:
        """See `Kernels`."""
        overlapped, self._overlaps = self._overlaps, False
        return overlapped

    def _chosen(self, kind: str, hidden: Tensor, weight: Tensor) -> Tile | None:
        """How to compute it by a kernel of ours; None for the library."""
        if len(hidden) != 1:
            return None
        return self._choices.tile_for(Case(kind, *weight.shape))

    def rms_norm(self, hidden: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        """See `Kernels`."""
        tokens, features = hidden.shape
        out = torch.empty_like(hidden)
        block = triton.next_power_of_2(features)
        _rms_norm[(tokens,)](
            hidden, weight, out, epsilon, features, BLOCK=block, **launched(overlaps=self._overlaps)
        )
        return out

    def normed_product(self, hidden: Tensor, norm: Tensor, epsilon: float, weight: Tensor) -> Tensor:
        """See `Kernels`."""
        return self._normed_product(hidden, norm, epsilon, weight, self._chosen(NORMED, hidden, weight))

    def _normed_product(
        self, hidden: Tensor, norm: Tensor, epsilon: float, weight: Tensor, tile: Tile | None
    ) -> Tensor:
        if tile is not None:
            return products.normed_product(
                hidden, norm, epsilon, weight, tile, gated=False, overlaps=self._overlaps
            )
        return functional.linear(self.rms_norm(hidden, norm, epsilon), weight)

    def rotate_and_store(self, projected: Tensor, where: Where, pages: Pages, heads: Heads) -> None:
        """See `Kernels`."""
        _rotate_and_store[(len(projected), triton.cdiv(heads.queries + 2 * heads.keys, ROTATED_HEADS))](
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
            HEADS=ROTATED_HEADS,
            HALF=triton.next_power_of_2(heads.width // 2),
            num_warps=2,
            **launched(overlaps=self._overlaps),
        )

    def attend(self, projected: Tensor, where: Where, pages: Pages, heads: Heads) -> Tensor:
        """See `Kernels`."""
        division = Division.of(len(projected), heads.keys, self._tuning.query_tokens)
        return attend(
            projected, where, pages, heads, self._tuning.keys_bytes, division, overlaps=self._overlaps
        )

    def normed_gated_product(self, hidden: Tensor, norm: Tensor, epsilon: float, weight: Tensor) -> Tensor:
        """See `Kernels`."""
        return self._normed_gated_product(hidden, norm, epsilon, weight, self._chosen(GATED, hidden, weight))

    def _normed_gated_product(
        self, hidden: Tensor, norm: Tensor, epsilon: float, weight: Tensor, tile: Tile | None
    ) -> Tensor:
        if tile is not None:
            return products.normed_product(
                hidden, norm, epsilon, weight, tile, gated=True, overlaps=self._overlaps
            )
        return self.gated(functional.linear(self.rms_norm(hidden, norm, epsilon), weight))

    def add_product(self, into: Tensor, hidden: Tensor, weight: Tensor, scale: float) -> None:
        """See `Kernels`."""
        self._add_product(into, hidden, weight, scale, self._chosen(ADDED, hidden, weight))

    def _add_product(
        self, into: Tensor, hidden: Tensor, weight: Tensor, scale: float, tile: Tile | None
    ) -> None:
        if tile is not None:
            products.add_product(into, hidden, weight, scale, tile, overlaps=self._overlaps)
        else:
            into.addmm_(hidden, weight.t(), alpha=scale)

    def gated(self, gate_and_up: Tensor) -> Tensor:
        """SiLU of the first half of [tokens, 2 * features], times the second: [tokens, features]."""
        tokens, features = len(gate_and_up), gate_and_up.shape[1] // 2
        out = gate_and_up.new_empty(tokens, features)
        grid = (tokens, triton.cdiv(features, GATED_BLOCK))
        _gated[grid](gate_and_up, out, features, BLOCK=GATED_BLOCK, **launched(overlaps=self._overlaps))
        return out
