"""The encoder's kernels in Triton; see `ConformerKernels`."""

# pyright: reportMissingImports=false, reportIndexIssue=false, reportUntypedFunctionDecorator=false
# See triton_kernels.

from __future__ import annotations

from typing import Final

import torch
import triton
import triton.language as tl
from torch import Tensor

from lithophone.backends.gpu.conformer import Norm
from lithophone.backends.gpu.kernels import Heads
from lithophone.backends.gpu.triton_attention import LEAST_ROWS, block_of
from lithophone.backends.gpu.tuning import Tuning

GATED_BLOCK: Final = 1024
EDGE_STEP: Final = 2
"""Frames at a time of the convolution where several clips meet: more take registers that the others then lack."""


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


@triton.jit
def _add_and_norm(
    hidden: tl.tensor,
    delta: tl.tensor,
    total: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    out: tl.tensor,
    scale: tl.tensor,
    epsilon: tl.tensor,
    features: tl.tensor,
    ADDED: tl.constexpr,
    STORED: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    start = tl.program_id(0).to(tl.int64) * features
    column = tl.arange(0, BLOCK)
    inside = column < features
    summed = tl.load(hidden + start + column, mask=inside, other=0.0)
    if ADDED:
        change = tl.load(delta + start + column, mask=inside, other=0.0).to(tl.float32)
        summed = (summed.to(tl.float32) + change * scale).to(out.dtype.element_ty)
        if STORED:
            tl.store(total + start + column, summed, mask=inside)
    wide = summed.to(tl.float32)
    centred = tl.where(inside, wide - tl.sum(wide, axis=0) / features, 0.0)
    shrunk = tl.rsqrt(tl.sum(centred * centred, axis=0) / features + epsilon)
    factor = tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    shift = tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)
    normed = centred * shrunk * factor + shift
    tl.store(out + start + column, normed.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _gate(values_and_gates: tl.tensor, out: tl.tensor, channels: tl.tensor, BLOCK: tl.constexpr) -> None:
    row = tl.program_id(0).to(tl.int64)
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = channel < channels
    source = values_and_gates + row * 2 * channels + channel
    value = tl.load(source, mask=inside, other=0.0).to(tl.float32)
    gate = tl.load(source + channels, mask=inside, other=0.0).to(tl.float32)
    gated = (value * tl.sigmoid(gate)).to(out.dtype.element_ty)
    tl.store(out + row * channels + channel, gated, mask=inside)


@triton.jit
def _neighbour(
    gated: tl.tensor,
    gapped_index: tl.tensor,
    frame: tl.tensor,
    frames: tl.tensor,
    channel: tl.tensor,
    channels: tl.tensor,
    ONE_CLIP: tl.constexpr,
) -> tuple[tl.tensor, tl.tensor]:
    """The row of a frame at `gated`, and a number that is the same for all frames of its clip, where there are several."""
    if ONE_CLIP:
        value = tl.load(gated, mask=channel < channels, other=0.0)
        clip = frame
    else:
        there = (frame >= 0) & (frame < frames)
        value = tl.load(gated, mask=channel < tl.where(there, channels, 0), other=0.0)
        clip = (tl.load(gapped_index + frame, mask=there, other=0) - frame).to(tl.int32)
    return value, clip


@triton.jit
def _convolve_tile(
    gated: tl.tensor,
    gapped_index: tl.tensor,
    weight: tl.tensor,
    bias: tl.tensor,
    out: tl.tensor,
    first: tl.tensor,
    frames: tl.tensor,
    channel: tl.tensor,
    channels: tl.tensor,
    TAPS: tl.constexpr,
    FRAMES: tl.constexpr,
    STEP: tl.constexpr,
    ONE_CLIP: tl.constexpr,
) -> None:
    """Each row is read once, and kept for as many frames as there are taps."""
    inside = channel < channels
    begin = first - TAPS // 2
    source = gated + begin.to(tl.int64) * channels + channel
    target = out + first.to(tl.int64) * channels + channel
    factors = ()
    for tap in tl.static_range(TAPS):
        factors += (tl.load(weight + tap * channels + channel, mask=inside, other=0.0).to(tl.float32),)
    shift = tl.load(bias + channel, mask=inside, other=0.0).to(tl.float32)
    rows = ()
    clips = ()
    for at in tl.static_range(TAPS - 1):
        row, clip = _neighbour(
            source + at * channels, gapped_index, begin + at, frames, channel, channels, ONE_CLIP
        )
        rows += (row,)
        clips += (clip,)
    for start in range(0, FRAMES, STEP):
        for step in tl.static_range(STEP):
            ahead = start + step + TAPS - 1
            row, clip = _neighbour(
                source + ahead * channels, gapped_index, begin + ahead, frames, channel, channels, ONE_CLIP
            )
            rows += (row,)
            clips += (clip,)
        for step in tl.static_range(STEP):
            total = shift
            for tap in tl.static_range(TAPS):
                value = tl.cast(rows[step + tap], tl.float32)
                if not ONE_CLIP:
                    value = tl.where(clips[step + tap] == clips[step + TAPS // 2], value, 0.0)
                total += value * factors[tap]
            filtered = (total * tl.sigmoid(total)).to(out.dtype.element_ty)
            written = channels if ONE_CLIP else tl.where(first + start + step < frames, channels, 0)
            tl.store(target + (start + step) * channels, filtered, mask=channel < written)
        rows = rows[STEP:]
        clips = clips[STEP:]


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
    STEP: tl.constexpr,
    EDGE_STEP: tl.constexpr,
    CHANNELS: tl.constexpr,
) -> None:
    first = tl.program_id(0) * FRAMES
    channel = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    begin = first - TAPS // 2
    end = begin + FRAMES + TAPS - 2
    there = (begin >= 0) & (end < frames)
    place = tl.load(gapped_index + begin, mask=there, other=0)
    last_place = tl.load(gapped_index + end, mask=there, other=-1)
    if last_place - place == end - begin:
        _convolve_tile(
            gated,
            gapped_index,
            weight,
            bias,
            out,
            first,
            frames,
            channel,
            channels,
            TAPS,
            FRAMES,
            STEP,
            ONE_CLIP=True,
        )
    else:
        _convolve_tile(
            gated,
            gapped_index,
            weight,
            bias,
            out,
            first,
            frames,
            channel,
            channels,
            TAPS,
            FRAMES,
            EDGE_STEP,
            ONE_CLIP=False,
        )


def layer_norm(
    hidden: Tensor, delta: Tensor | None, total: Tensor | None, scale: float, norm: Norm, warps: int
) -> Tensor:
    """The layer norm of `hidden + scale * delta`, or of `hidden` [frames, features]; see `ConformerKernels`.

    Args:
        hidden: See above.
        delta: [frames, features], or None.
        total: [frames, features]: where the sum is written to, or None. Only beside a `delta`.
        scale: Of `delta`.
        norm: See there.
        warps: Groups of threads for each frame.
    """
    frames, features = hidden.shape
    out = torch.empty_like(hidden)
    _add_and_norm[(frames,)](
        hidden,
        hidden if delta is None else delta,
        out if total is None else total,
        norm.weight,
        norm.bias,
        out,
        scale,
        norm.epsilon,
        features,
        ADDED=delta is not None,
        STORED=total is not None,
        BLOCK=triton.next_power_of_2(features),
        num_warps=warps,
    )
    return out


def gate(values_and_gates: Tensor) -> Tensor:
    """See `ConformerKernels`."""
    frames, channels = len(values_and_gates), values_and_gates.shape[1] // 2
    out = values_and_gates.new_empty(frames, channels)
    _gate[(frames, triton.cdiv(channels, GATED_BLOCK))](values_and_gates, out, channels, BLOCK=GATED_BLOCK)
    return out


def attend_blocks(
    queries: Tensor,
    keys_and_values: Tensor,
    biases: Tensor,
    block_places: Tensor,
    heads: Heads,
    *,
    rows: int,
    keys_bytes: int,
    warps: int,
) -> Tensor:
    """See `ConformerKernels`; `rows` frames for each program, which looks at `keys_bytes` of keys at a time."""
    out = torch.empty_like(queries)
    blocks, middle = block_places.shape[1], biases.shape[-1] // 2
    columns = max(LEAST_ROWS, triton.next_power_of_2(heads.width))
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
        BLOCK=block_of(keys_bytes, columns, queries.itemsize),
        num_warps=warps,
    )
    return out


def convolve(
    gated: Tensor,
    gapped_index: Tensor,
    weight: Tensor,
    bias: Tensor,
    *,
    tile_frames: int,
    tile_channels: int,
    step: int,
    warps: int,
) -> Tensor:
    """See `ConformerKernels`; `tile_frames` times `tile_channels` for each program, `step` frames at a time.

    `tile_frames` is a multiple of `step` and of `EDGE_STEP`.
    """
    frames, channels = gated.shape
    out = torch.empty_like(gated)
    _convolve[(triton.cdiv(frames, tile_frames), triton.cdiv(channels, tile_channels))](
        gated,
        gapped_index,
        weight,
        bias,
        out,
        frames,
        channels,
        TAPS=len(weight),
        FRAMES=tile_frames,
        STEP=step,
        EDGE_STEP=EDGE_STEP,
        CHANNELS=tile_channels,
        num_warps=warps,
    )
    return out


class TritonConformerKernels:
    """See `ConformerKernels`.

    Args:
        tuning: For the kind of GPU.
    """

    def __init__(self, tuning: Tuning) -> None:
        self._tuning = tuning

    def norm(self, hidden: Tensor, norm: Norm) -> Tensor:
        """See `ConformerKernels`."""
        return layer_norm(hidden, None, None, 1.0, norm, self._tuning.norm_warps)

    def add_and_norm(self, hidden: Tensor, delta: Tensor, scale: float, norm: Norm) -> tuple[Tensor, Tensor]:
        """See `ConformerKernels`."""
        total = torch.empty_like(hidden)
        return total, layer_norm(hidden, delta, total, scale, norm, self._tuning.norm_warps)

    def norm_of_sum(self, hidden: Tensor, delta: Tensor, scale: float, norm: Norm) -> Tensor:
        """See `ConformerKernels`."""
        return layer_norm(hidden, delta, None, scale, norm, self._tuning.norm_warps)

    def gate(self, values_and_gates: Tensor) -> Tensor:
        """See `ConformerKernels`."""
        return gate(values_and_gates)

    def attend_blocks(
        self, queries: Tensor, keys_and_values: Tensor, biases: Tensor, block_places: Tensor, heads: Heads
    ) -> Tensor:
        """See `ConformerKernels`."""
        return attend_blocks(
            queries,
            keys_and_values,
            biases,
            block_places,
            heads,
            rows=self._tuning.query_rows if queries.itemsize == 2 else LEAST_ROWS,
            keys_bytes=self._tuning.keys_bytes,
            warps=self._tuning.query_warps,
        )

    def convolve(self, gated: Tensor, gapped_index: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """See `ConformerKernels`."""
        return convolve(
            gated,
            gapped_index,
            weight,
            bias,
            tile_frames=self._tuning.convolved_frames,
            tile_channels=self._tuning.convolved_channels,
            step=self._tuning.convolved_step,
            warps=self._tuning.convolved_warps,
        )
