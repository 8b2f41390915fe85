"""The encoder's kernels in Triton; see `ConformerKernels`."""

# pyright: reportMissingImports=false, reportIndexIssue=false, reportUntypedFunctionDecorator=false
# See triton_kernels.

from __future__ import annotations

from typing import Final

import torch
import triton
import triton.language as tl
from torch import Tensor

from lithophone.backends.gpu.kernels import Heads
from lithophone.backends.gpu.triton_attention import LEAST_ROWS, block_of
from lithophone.backends.gpu.tuning import Tuning

CONVOLVED_CHANNELS: Final = 128


@triton.jit
def _attend_blocks(
    queries: tl.tensor,
    keys_and_values: tl.tensor,
    biases: tl.tensor,
    places: tl.tensor,
    out: tl.tensor,
    scale: tl.tensor,
    blocks: tl.tensor,
    bias_stride: tl.tensor,
    middle: tl.tensor,
    HEADS: tl.constexpr,
    WIDTH: tl.constexpr,
    COLUMNS: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    block = tl.program_id(0)
    head = tl.program_id(1)
    start = tl.load(places + block)
    size = tl.load(places + blocks + block)
    row = tl.program_id(2) * ROWS + tl.arange(0, ROWS)
    if tl.program_id(2) * ROWS < size:
        column = tl.arange(0, COLUMNS)
        inside = column < WIDTH
        there = row < size
        own = (start + row) * HEADS + head
        query = tl.load(
            queries + own[:, None] * WIDTH + column[None, :], mask=there[:, None] & inside[None, :], other=0.0
        )
        bias_row = biases + own * bias_stride + middle - row
        largest = tl.full([ROWS], float("-inf"), tl.float32)
        total = tl.zeros([ROWS], tl.float32)
        summed = tl.zeros([ROWS, COLUMNS], tl.float32)
        for first in range(0, size, BLOCK):
            other = first + tl.arange(0, BLOCK)
            seen = other < size
            cells = keys_and_values + ((start + other) * 2 * HEADS + head) * WIDTH
            key = tl.load(cells[None, :] + column[:, None], mask=seen[None, :] & inside[:, None], other=0.0)
            value = tl.load(
                cells[:, None] + HEADS * WIDTH + column[None, :],
                mask=seen[:, None] & inside[None, :],
                other=0.0,
            )
            bias = tl.load(
                bias_row[:, None] + other[None, :], mask=there[:, None] & seen[None, :], other=0.0
            ).to(tl.float32)
            scores = (tl.dot(query, key, input_precision="ieee") + bias) * scale
            scores = tl.where(seen[None, :], scores, float("-inf"))
            higher = tl.maximum(largest, tl.max(scores, axis=1))
            weights = tl.exp(scores - higher[:, None])
            fading = tl.exp(largest - higher)
            part = tl.dot(weights.to(value.dtype), value, input_precision="ieee")
            summed = summed * fading[:, None] + part
            total = total * fading + tl.sum(weights, axis=1)
            largest = higher
        attended = (summed / total[:, None]).to(out.dtype.element_ty)
        tl.store(
            out + own[:, None] * WIDTH + column[None, :], attended, mask=there[:, None] & inside[None, :]
        )


@triton.jit(do_not_specialize=["frames"])
def _convolve(
    gated: tl.tensor,
    gapped_index: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    out: tl.tensor,
    frames: tl.tensor,
    channels: tl.tensor,
    TAPS: tl.constexpr,
    FRAMES: tl.constexpr,
    CHANNELS: tl.constexpr,
) -> None:
    frame = tl.program_id(0).to(tl.int64) * FRAMES + tl.arange(0, FRAMES)
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    there = frame < frames
    inside = channel < channels
    place = tl.load(gapped_index + frame, mask=there, other=0)
    total = tl.zeros([FRAMES, CHANNELS], tl.float32)
    total += tl.load(bias + channel, mask=inside, other=0.0).to(tl.float32)[None, :]
    for tap in tl.static_range(TAPS):
        shift = tap - TAPS // 2
        other = frame + shift
        near = there & (other >= 0) & (other < frames)
        same_clip = near & (tl.load(gapped_index + other, mask=near, other=0) - place == shift)
        value = tl.load(
            gated + other[:, None] * channels + channel[None, :],
            mask=same_clip[:, None] & inside[None, :],
            other=0.0,
        ).to(tl.float32)
        factor = tl.load(weight + channel * TAPS + tap, mask=inside, other=0.0).to(tl.float32)
        total += value * factor[None, :]
    total = total * tl.sigmoid(total)
    place_out = out + frame[:, None] * channels + channel[None, :]
    tl.store(place_out, total.to(out.dtype.element_ty), mask=there[:, None] & inside[None, :])


class TritonConformerKernels:
    """See `ConformerKernels`.

    Args:
        tuning: For the kind of GPU.
    """

    def __init__(self, tuning: Tuning) -> None:
        self._tuning = tuning

    def attend_blocks(
        self, queries: Tensor, keys_and_values: Tensor, biases: Tensor, block_places: Tensor, heads: Heads
    ) -> Tensor:
        """See `ConformerKernels`."""
        out = torch.empty_like(queries)
        blocks, middle = block_places.shape[1], biases.shape[-1] // 2
        columns = max(LEAST_ROWS, triton.next_power_of_2(heads.width))
        rows = self._tuning.query_rows if queries.itemsize == 2 else LEAST_ROWS
        _attend_blocks[(blocks, heads.queries, triton.cdiv(middle + 1, rows))](
            queries,
            keys_and_values,
            biases,
            block_places,
            out,
            heads.scale,
            blocks,
            biases.stride(1),
            middle,
            HEADS=heads.queries,
            WIDTH=heads.width,
            COLUMNS=columns,
            ROWS=rows,
            BLOCK=block_of(self._tuning.keys_bytes, columns, queries.itemsize),
            num_warps=self._tuning.query_warps,
        )
        return out

    def convolve(self, gated: Tensor, gapped_index: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """See `ConformerKernels`."""
        frames, channels = gated.shape
        out = torch.empty_like(gated)
        grid = (triton.cdiv(frames, self._tuning.convolved_frames), triton.cdiv(channels, CONVOLVED_CHANNELS))
        _convolve[grid](
            gated,
            gapped_index,
            weight,
            bias,
            out,
            frames,
            channels,
            TAPS=weight.shape[-1],
            FRAMES=self._tuning.convolved_frames,
            CHANNELS=CONVOLVED_CHANNELS,
        )
        return out
