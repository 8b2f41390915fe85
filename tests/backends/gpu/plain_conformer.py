"""What the encoder's kernels compute, in plain operations of torch: their stand-in on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from lithophone.backends.gpu.conformer import Norm
from lithophone.backends.gpu.kernels import Heads


class PlainConformerKernels:
    """See `ConformerKernels`."""

    def norm(self, hidden: Tensor, norm: Norm) -> Tensor:
        return functional.layer_norm(hidden, hidden.shape[-1:], norm.weight, norm.bias, norm.epsilon)

    def add_and_norm(self, hidden: Tensor, delta: Tensor, scale: float, norm: Norm) -> tuple[Tensor, Tensor]:
        total = torch.add(hidden, delta, alpha=scale)
        return total, self.norm(total, norm)

    def norm_of_sum(self, hidden: Tensor, delta: Tensor, scale: float, norm: Norm) -> Tensor:
        return self.add_and_norm(hidden, delta, scale, norm)[1]

    def gate(self, values_and_gates: Tensor) -> Tensor:
        return functional.glu(values_and_gates, dim=-1)

    def attend_blocks(
        self, queries: Tensor, keys_and_values: Tensor, biases: Tensor, block_places: Tensor, heads: Heads
    ) -> Tensor:
        found = torch.empty_like(queries)
        middle = biases.shape[-1] // 2
        for start, size in block_places.t().tolist():
            block = slice(start, start + size)
            query = queries[block].view(size, heads.queries, -1)
            key, value = keys_and_values[block].view(size, 2, heads.keys, -1).unbind(1)
            distance = middle - torch.arange(size)[:, None] + torch.arange(size)
            bias = torch.stack([biases[start + row, :, distance[row]] for row in range(size)], dim=1)
            scores = (torch.einsum("qhw,khw->hqk", query, key) + bias) * heads.scale
            found[block] = torch.einsum("hqk,khw->qhw", scores.softmax(-1), value).flatten(1)
        return found

    def convolve(self, gated: Tensor, gapped_index: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        taps = len(weight)
        gapped = gated.new_zeros(int(gapped_index.max()) + 1 + 2 * taps, gated.shape[-1])
        gapped[gapped_index + taps] = gated
        moved = gapped_index + taps - taps // 2
        return functional.silu(sum((gapped[moved + tap] * weight[tap] for tap in range(taps)), start=bias))
