"""Linear layers of 4-bit weights.

Owns how weights are rounded in groups along a row, and the product with activations in 8 bits. A group's scale is a whole
number from 1 to 15 times that of its row: so every weight is a whole number of 8 bits times its
row's scale. Two ways of multiplying take exactly the same whole numbers. torch's packed kernel reads 4 bits a weight and is
made for a few rows; for more, weights are widened to 8 bits block by block, which stay in the cache, and multiplied as
integers. Both read the same packed weight. They differ in the last rounding: the packed kernel gives bfloat16.

Where bfloat16 is multiplied as fast as 8 bits are rounded, activations stay as they are in both ways.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Final

import msgspec
import torch
from torch import Tensor, nn

from lithophone.backends.quantization.eight import NARROW_LEVELS, has_vnni, row_blocks
from lithophone.backends.quantization.rounding import LEAST_SIZE, LEVELS, Rounded, rounded_blocks

GROUP: Final = 32
"""Weights that share a scale: of what torch's kernel knows the smallest and the most exact."""

LARGEST_MULTIPLIER: Final = 15  # times -8 it is a whole number of 8 bits
LEAST, GREATEST = -8, 7
WIDTHS: Final = (64, 32)  # of blocks of outputs, which share their bytes: with AVX512 and AVX2
BLOCK_WEIGHTS: Final = 1 << 21  # widened at a time: a byte each

TRIED_ROWS: Final = (4, 8, 12, 16, 24, 32)
TRIED_SHAPE: Final = (4096, 2048)
TRIED_ROUNDS: Final = 3
FEW_ROWS_UNMEASURED: Final = 16


class Int4Weight(msgspec.Struct, frozen=True, eq=False):
    """A weight in 4 bits.

    Attributes:
        values: uint8 [out, in / 2]: even columns in the lower halves of a byte, odd ones in the upper halves, each plus 8.
        multipliers: uint8 [out, in / 32].
        scale: float32 [out].
    """

    values: Tensor
    multipliers: Tensor
    scale: Tensor

    @classmethod
    def of(cls, weight: Tensor) -> Int4Weight:
        """Near the weight: of a few scales for each group the one with the least squared error."""
        rounded = [_rounded(block) for block in row_blocks(weight)]
        return cls(*(torch.cat([getattr(one, name) for one in rounded]) for name in cls.__struct_fields__))

    def whole(self) -> Tensor:
        """uint8 [out, in], from 0 to 15: 8 stands for zero."""
        return torch.stack([self.values & 15, self.values >> 4], dim=-1).flatten(1)

    def widened(self) -> Tensor:
        """float32 [out, in]: what it stands for."""
        sizes = self.multipliers * self.scale.unsqueeze(1)
        return (self.whole().float() + LEAST) * sizes.repeat_interleave(GROUP, dim=1)


def _rounded(block: Tensor) -> Int4Weight:
    wide = block.float()
    groups = wide.view(len(wide), -1, GROUP)
    wanted = groups.abs().amax(dim=2) / -LEAST
    largest = (wanted.amax(dim=1) / LARGEST_MULTIPLIER).clamp_(min=LEAST_SIZE)
    nearest = (wanted / largest.unsqueeze(1)).floor_()
    multipliers, values = _best(groups, largest, nearest)
    shifted = values.view(wide.shape).sub_(LEAST).to(torch.uint8)
    return Int4Weight(shifted[:, ::2] | (shifted[:, 1::2] << 4), multipliers.to(torch.uint8), largest)


def _best(groups: Tensor, scale: Tensor, nearest: Tensor) -> tuple[Tensor, Tensor]:
    """Multipliers [rows, groups] and the whole numbers of the groups, from -8 to 7."""
    best, values = torch.ones_like(nearest), torch.zeros_like(groups)
    least = torch.full_like(nearest, math.inf)
    for step in range(3):
        tried = (nearest + step).clamp_(1, LARGEST_MULTIPLIER)
        size = (tried * scale.unsqueeze(1)).unsqueeze(2)
        rounded = (groups / size).round_().clamp_(LEAST, GREATEST)
        error = torch.linalg.vector_norm(rounded * size - groups, dim=2)
        better = error < least
        least = torch.where(better, error, least)
        best = torch.where(better, tried, best)
        values = torch.where(better.unsqueeze(2), rounded, values)
    return best, values


class Int4Linear(nn.Module):
    """A linear layer of 4-bit weights.

    Args:
        weight: Packed here; inputs in 32s and outputs in 64s.
        bias: [out], or none.
        wide: Activations come in bfloat16 and are not rounded.

    Attributes:
        few_rows: Up to here torch's packed kernel multiplies.
    """

    packed: Tensor
    sizes: Tensor
    multipliers: Tensor
    scale: Tensor
    bias: Tensor | None

    def __init__(self, weight: Int4Weight, bias: Tensor | None, *, wide: bool = False) -> None:
        super().__init__()
        self.out_features, self.in_features = len(weight.values), 2 * weight.values.shape[1]
        self._wide = wide
        self._levels = LEVELS if has_vnni() else NARROW_LEVELS
        self.few_rows = FEW_ROWS_UNMEASURED
        multipliers = weight.multipliers.t().to(torch.bfloat16)
        width = block_width()
        blocked = weight.multipliers.t().to(torch.int8).view(-1, self.out_features // width, width)
        self.register_buffer("packed", torch.cat([_packed(part) for part in _blocks_of(weight.whole())]))
        self.register_buffer("sizes", torch.stack([multipliers, torch.zeros_like(multipliers)], dim=-1))
        self.register_buffer("multipliers", blocked.transpose(0, 1).contiguous())
        self.register_buffer("scale", weight.scale)
        self.register_buffer("bias", None if bias is None else bias.detach().clone())

    @property
    def weights(self) -> int:
        """How many."""
        return self.out_features * self.in_features

    def stored(self) -> Int4Weight:
        """The weight in the form that is kept on disk."""
        whole = torch.cat([_unpacked(part).transpose(1, 2).flatten(0, 1) for part in self._parts()])
        values = (whole[:, ::2] | (whole[:, 1::2] << 4)).contiguous()
        multipliers = self.multipliers.transpose(0, 1).flatten(1).t().to(torch.uint8).contiguous()
        return Int4Weight(values, multipliers, self.scale)

    def forward(self, inputs: Tensor) -> Tensor:
        """[..., in] to [..., out], in the dtype of `inputs`."""
        rows = inputs.reshape(-1, self.in_features)
        given = inputs.new_empty(len(rows), self.out_features)
        if self._wide:
            self._multiply(rows, given)
        else:
            self._multiply_rounded(rows, given)
        return given.view(*inputs.shape[:-1], -1)

    def _multiply_rounded(self, rows: Tensor, given: Tensor) -> None:
        if len(rows) <= self.few_rows:
            blocks = list(rounded_blocks(rows, self.out_features, self._levels, dtype=torch.bfloat16))
            self._give(given, slice(None), blocks, [self.few(block.whole) for block in blocks])
        else:
            blocks = list(rounded_blocks(rows, self.out_features, self._levels, dtype=torch.int8))
            sizes = [len(block.whole) for block in blocks]
            for columns, product in self.many(torch.cat([block.whole for block in blocks])):
                self._give(given, columns, blocks, product.split(sizes))

    def _multiply(self, rows: Tensor, given: Tensor) -> None:
        few = len(rows) <= self.few_rows
        scale = self.scale.to(rows.dtype)
        for columns, product in [(slice(None), self.few(rows))] if few else self.many(rows):
            torch.mul(product, scale[columns], out=given[:, columns])
        if self.bias is not None:
            given.add_(self.bias)

    def _give(
        self, given: Tensor, columns: slice, blocks: Sequence[Rounded], products: Sequence[Tensor]
    ) -> None:
        """Some columns of all rows: of each block's product what its rows are."""
        at = 0
        for block, product in zip(blocks, products, strict=True):
            restored = block.restored(product).mul_(self.scale[columns])
            if self.bias is not None:
                restored.add_(self.bias[columns])
            given[at : at + len(restored), columns] = restored
            at += len(restored)

    def few(self, rows: Tensor) -> Tensor:
        """bfloat16 [rows, out] of bfloat16 by torch's packed kernel, before the scale of the weight's rows."""
        kernel: Any = torch.ops.aten._weight_int4pack_mm_for_cpu  # noqa: SLF001 - torch's own name for it
        return kernel(rows, self.packed, GROUP, self.sizes)

    def many(self, rows: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """Some columns of the same after others, whose weights are widened for that: int32 of int8, or bfloat16 of bfloat16."""
        product = torch.mm if rows.is_floating_point() else _integer_product
        at = 0
        for part, multipliers in zip(
            self._parts(), self.multipliers.split(self._blocks_at_a_time), strict=True
        ):
            columns = slice(at, at + len(part) * block_width())
            yield columns, product(rows, _widened(part, multipliers).to(rows.dtype))
            at = columns.stop

    @property
    def _blocks_at_a_time(self) -> int:
        return max(1, BLOCK_WEIGHTS // (self.in_features * block_width()))

    def _parts(self) -> Iterator[Tensor]:
        """uint8 [blocks, in, half a block's width] at a time."""
        half = block_width() // 2
        yield from self.packed.view(-1, self.in_features, half).split(self._blocks_at_a_time)


def _widened(part: Tensor, multipliers: Tensor) -> Tensor:
    """int8 [in, blocks x width]: each number times its group's multiplier; multiplied where it is put, in its row."""
    whole = _unpacked(part).view(torch.int8).sub_(-LEAST)
    blocks, inputs, width = whole.shape
    widened = torch.empty(inputs, blocks * width, dtype=torch.int8)
    placed = widened.view(-1, GROUP, blocks, width).permute(2, 0, 1, 3)
    torch.mul(whole.unflatten(1, (-1, GROUP)), multipliers.unsqueeze(2), out=placed)
    return widened


def _integer_product(whole: Tensor, widened: Tensor) -> Tensor:
    """int32 [rows, columns] of int8 [rows, in] and [in, columns].

    Without VNNI oneDNN adds 128 to what comes first and adds pairs of products in 16 bits: `NARROW_LEVELS` fit beside weights,
    whatever they are, and not the other way round.
    """
    product: Any = torch.ops.aten._int_mm  # noqa: SLF001 - torch's own name for it
    return product(whole, widened) if has_vnni() else product(widened.t(), whole.t()).t()


def _unpacked(part: Tensor) -> Tensor:
    """uint8 [blocks, in, width], from 0 to 15."""
    return torch.cat([part & 15, part >> 4], dim=2)


def _blocks_of(whole: Tensor) -> Iterator[Tensor]:
    """Rows in whole blocks, some at a time: packing takes four bytes for each weight."""
    width = WIDTHS[0]
    yield from whole.split(max(1, BLOCK_WEIGHTS // whole.shape[1] // width) * width)


def _packed(whole: Tensor) -> Tensor:
    pack: Any = torch.ops.aten._convert_weight_to_int4pack_for_cpu  # noqa: SLF001 - torch's own name for it
    return pack(whole.to(torch.int32), 1)


@cache
def block_width() -> int:
    """How torch packs on this processor: two outputs half a block apart share a byte. 0: in a way not known here."""
    whole = torch.arange(2 * WIDTHS[0] * GROUP).remainder_(15).to(torch.uint8).view(-1, GROUP)
    packed = _packed(whole)
    for width in WIDTHS:
        unpacked = _unpacked(packed.view(-1, GROUP, width // 2)).transpose(1, 2).flatten(0, 1)
        if torch.equal(unpacked, whole):
            return width
    return 0


def suits(out_features: int, in_features: int) -> bool:
    """Whether a weight of this shape can be packed; others are kept in 8 bits."""
    return out_features % WIDTHS[0] == 0 and in_features % GROUP == 0


def measured_few_rows(*, wide: bool) -> int:
    """The most rows for which torch's packed kernel is the faster way on this machine, by the clock; takes a tenth of a second.

    Args:
        wide: See `Int4Linear`.
    """
    layer = Int4Linear(Int4Weight.of(torch.ones(TRIED_SHAPE)), None)
    few = 1
    for count in TRIED_ROWS:
        rows = torch.ones(count, layer.in_features, dtype=torch.bfloat16 if wide else torch.int8)
        by_few = _seconds(lambda given: layer.few(given.to(torch.bfloat16)), rows)
        if by_few > _seconds(lambda given: list(layer.many(given)), rows):
            break
        few = count
    return few


def _seconds(way: Any, rows: Tensor) -> float:
    least = math.inf
    for _ in range(TRIED_ROUNDS):
        began = time.perf_counter()
        way(rows)
        least = min(least, time.perf_counter() - began)
    return least
