"""The encoder's layers as a GPU likes them: attention and convolution over packed frames are one kernel each."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from lithophone.backends.decoding.encoder import (
    BlockAttention,
    ConformerLayer,
    Convolution,
    LayersInForm,
    PackedClips,
)
from lithophone.backends.decoding.growing import Seam
from lithophone.backends.gpu.kernels import Heads

ALIGNED_ROWS = 8
"""Of a matrix in 16 bits: with an odd number of rows the library falls back to a kernel several times slower."""


class ConformerKernels(Protocol):
    """One kernel each."""

    def attend_blocks(
        self, queries: Tensor, keys_and_values: Tensor, biases: Tensor, block_places: Tensor, heads: Heads
    ) -> Tensor:
        """[frames, heads * width]: each frame over those of its block.

        Args:
            queries: [frames, heads * width].
            keys_and_values: [frames, 2 * heads * width]: keys, then values.
            biases: [frames, heads, distances]: what is added to a score before it is scaled. Frame i of a block finds the
                one for frame j at `context - 1 - i + j`, where `2 * context - 1` distances count.
            block_places: See `PackedClips`.
            heads: See there; as many for keys as for queries.
        """
        ...

    def convolve(self, gated: Tensor, gapped_index: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """SiLU of the depthwise convolution of [frames, channels] with `weight` [channels, 1, taps], inside clips.

        Args:
            gated: See above.
            gapped_index: See `PackedClips`.
            weight: An odd number of taps.
            bias: [channels].
        """
        ...


def kernel_layers(encoder: Any, kernels: ConformerKernels) -> LayersInForm:
    """The layers of `model.model.encoder`, which has to be on a device that the kernels are for."""
    context = int(encoder.config.context_size)
    layers = [
        ConformerLayer(
            layer, _KernelAttention(layer.attn, context, kernels), _KernelConvolution(layer.conv, kernels)
        )
        for layer in encoder.layers
    ]
    return LayersInForm(layers, encoder.input_linear.weight.dtype, go_on=False)


class _KernelAttention(BlockAttention):
    def __init__(self, attention: Any, context: int, kernels: ConformerKernels) -> None:
        super().__init__(attention)
        self._kernels = kernels
        middle = int(attention.max_pos_emb)
        table = attention.rel_pos_emb.weight[middle - context + 1 : middle + context].flip(0)
        self._table = functional.pad(table, (0, 0, 0, -len(table) % ALIGNED_ROWS)).t()
        self._shape = Heads(self._heads, self._heads, int(table.shape[1]), self._scale)
        self._context = context

    def _attended(self, queries: Tensor, keys_and_values: Tensor, clips: PackedClips) -> Tensor:
        biases = torch.matmul(queries.view(-1, self._shape.width), self._table)
        by_frame = biases.view(len(queries), self._heads, -1)[..., : 2 * self._context - 1]
        return self._kernels.attend_blocks(
            queries, keys_and_values, by_frame, clips.block_places, self._shape
        )


class _KernelConvolution(Convolution):
    def __init__(self, module: Any, kernels: ConformerKernels) -> None:
        super().__init__(module)
        self._kernels = kernels

    def _filtered(self, gated: Tensor, clips: PackedClips, seam: Seam | None) -> Tensor:  # noqa: ARG002 - `go_on` is false
        return self._kernels.convolve(gated, clips.gapped_index, self._weight, self._bias)
