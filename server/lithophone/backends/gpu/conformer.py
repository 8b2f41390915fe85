"""The encoder's layers as a GPU likes them: what stands between the matrix products is few kernels that read little.

A sum and the layer norm of it are one kernel, and so are attention and convolution over packed frames.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from lithophone.backends.decoding.encoder import PackedClips, as_linear, folded
from lithophone.backends.decoding.growing import Seam
from lithophone.backends.gpu.kernels import Heads

ALIGNED_ROWS = 8
"""Of a matrix in 16 bits: with an odd number of rows the library falls back to a kernel several times slower."""
HALF_STEP = 0.5
"""What a conformer adds of each of its two feed-forward parts."""


class Norm(NamedTuple):
    """A layer norm: weight and bias [features], and what is added to the variance."""

    weight: Tensor
    bias: Tensor
    epsilon: float

    @classmethod
    def of(cls, module: Any) -> Norm:
        """Of an `nn.LayerNorm` over the last dimension."""
        return cls(module.weight, module.bias, float(module.eps))


class ConformerKernels(Protocol):
    """One kernel each. Tensors are contiguous and of one dtype, indexes apart; what is computed inside is float32."""

    def norm(self, hidden: Tensor, norm: Norm) -> Tensor:
        """The layer norm of [frames, features], rounded once."""
        ...

    def add_and_norm(self, hidden: Tensor, delta: Tensor, scale: float, norm: Norm) -> tuple[Tensor, Tensor]:
        """`hidden + scale * delta`, rounded to the dtype as `torch.add` does, and the layer norm of what was rounded.

        Args:
            hidden: [frames, features].
            delta: Likewise.
            scale: Of `delta`.
            norm: Of the sum.

        Returns:
            Two new tensors [frames, features].
        """
        ...

    def norm_of_sum(self, hidden: Tensor, delta: Tensor, scale: float, norm: Norm) -> Tensor:
        """The second of what `add_and_norm` returns; the sum is not written."""
        ...

    def gate(self, values_and_gates: Tensor) -> Tensor:
        """[frames, channels]: values times the sigmoid of their gates, rounded once, as `functional.glu`.

        Args:
            values_and_gates: [frames, 2 * channels]: values, then gates.
        """
        ...

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
        """[frames, channels]: SiLU of the depthwise convolution, inside clips.

        Rounded once, behind SiLU; torch rounds what goes into SiLU too, which in 16 bits is a little less exact.

        Args:
            gated: [frames, channels].
            gapped_index: See `PackedClips`; the gap is at least half of the taps.
            weight: [taps, channels], an odd number of taps.
            bias: [channels].
        """
        ...


def kernel_layers(encoder: Any, kernels: ConformerKernels) -> list[KernelLayer]:
    """The layers of `model.model.encoder`, which has to be on a device that the kernels are for."""
    context = int(encoder.config.context_size)
    return [KernelLayer(layer, context, kernels) for layer in encoder.layers]


class KernelLayer:
    """A `ConformerLayer` over kernels.

    Args:
        layer: Of transformers' encoder, in eval mode.
        context: Frames of an attention block.
        kernels: For the device that the layer is on.
    """

    def __init__(self, layer: Any, context: int, kernels: ConformerKernels) -> None:
        self._kernels = kernels
        self._first, self._second = _FeedForward(layer.ff1), _FeedForward(layer.ff2)
        self._attention = _KernelAttention(layer.attn, context, kernels)
        self._convolution = _KernelConvolution(layer.conv, kernels)
        self._first_norm, self._second_norm = Norm.of(layer.ff1.pre_norm), Norm.of(layer.ff2.pre_norm)
        self._attention_norm, self._convolution_norm = Norm.of(layer.attn.pre_norm), Norm.of(layer.conv.norm)
        self._last_norm = Norm.of(layer.post_norm)

    def __call__(self, hidden: Tensor, clips: PackedClips, seam: Seam | None) -> Tensor:  # noqa: ARG002 - `go_on` is false
        """[frames, hidden] in and out."""
        add_and_norm = self._kernels.add_and_norm
        normed = self._kernels.norm(hidden, self._first_norm)
        hidden, normed = add_and_norm(hidden, self._first(normed), HALF_STEP, self._attention_norm)
        hidden, normed = add_and_norm(hidden, self._attention(normed, clips), 1.0, self._convolution_norm)
        hidden, normed = add_and_norm(hidden, self._convolution(normed, clips), 1.0, self._second_norm)
        return self._kernels.norm_of_sum(hidden, self._second(normed), HALF_STEP, self._last_norm)


class _FeedForward:
    def __init__(self, module: Any) -> None:
        self._up, self._down = module.up_proj, module.down_proj

    def __call__(self, normed: Tensor) -> Tensor:
        """[frames, hidden] in and out."""
        return self._down(functional.silu(self._up(normed)))


class _KernelAttention:
    def __init__(self, attention: Any, context: int, kernels: ConformerKernels) -> None:
        self._kernels = kernels
        self._queries, self._keys_and_values, self._out = attention.to_q, attention.to_kv, attention.to_out
        middle = int(attention.max_pos_emb)
        table = attention.rel_pos_emb.weight[middle - context + 1 : middle + context].flip(0)
        self._table = functional.pad(table, (0, 0, 0, -len(table) % ALIGNED_ROWS)).t()
        heads = int(attention.num_heads)
        self._shape = Heads(heads, heads, int(table.shape[1]), float(attention.scale))
        self._context = context

    def __call__(self, normed: Tensor, clips: PackedClips) -> Tensor:
        """[frames, hidden] in and out."""
        queries = self._queries(normed)
        attended = self._kernels.attend_blocks(
            queries, self._keys_and_values(normed), self._biases(queries), clips.block_places, self._shape
        )
        return self._out(attended)

    def _biases(self, queries: Tensor) -> Tensor:
        """[frames, heads, distances]: each query times the embeddings of all distances."""
        biases = torch.matmul(queries.view(-1, self._shape.width), self._table)
        return biases.view(len(queries), self._shape.queries, -1)[..., : 2 * self._context - 1]


class _KernelConvolution:
    def __init__(self, module: Any, kernels: ConformerKernels) -> None:
        self._kernels = kernels
        self._up, self._down = as_linear(module.up_conv), as_linear(module.down_conv)
        weight, self._bias = folded(module.depth_conv.conv, module.batch_norm)
        self._weight = weight.squeeze(1).t().contiguous()

    def __call__(self, normed: Tensor, clips: PackedClips) -> Tensor:
        """[frames, hidden] in and out."""
        gated = self._kernels.gate(self._up(normed))
        return self._down(self._kernels.convolve(gated, clips.gapped_index, self._weight, self._bias))
