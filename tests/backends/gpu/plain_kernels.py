"""What the kernels compute, in plain operations of torch: the reference of the Triton ones, and their stand-in on a CPU."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from lithophone.backends.gpu.kernels import Heads, Layer, Pages, Where
from lithophone.backends.gpu.pages import PAGE_POSITIONS


class PlainKernels:
    """See `Kernels`."""

    def tune(self, layers: Sequence[Layer]) -> None:
        """There is one way."""

    def begin_one_by_one(self) -> bool:
        return False

    def rms_norm(self, hidden: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        wide = hidden.float()
        normed = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + epsilon)
        return weight * normed.to(hidden.dtype)

    def rotate_and_store(self, projected: Tensor, where: Where, pages: Pages, heads: Heads) -> None:
        by_head = projected.view(len(projected), -1, heads.width)
        rotated = by_head[:, : heads.queries + heads.keys]
        cosine, sine = where.rotation[where.positions].unsqueeze(1).chunk(2, dim=-1)
        left, right = rotated.float().chunk(2, dim=-1)
        turned = torch.cat((left * cosine - right * sine, right * cosine + left * sine), dim=-1)
        rotated.copy_(turned.to(projected.dtype))
        page = where.table[where.slots, where.positions // PAGE_POSITIONS].long()
        cell = (where.positions % PAGE_POSITIONS).long()
        pages.keys[page, cell] = by_head[:, heads.queries : heads.queries + heads.keys]
        pages.values[page, cell] = by_head[:, heads.queries + heads.keys :]

    def attend(self, projected: Tensor, where: Where, pages: Pages, heads: Heads) -> Tensor:
        queries = projected.view(len(projected), -1, heads.width)[:, : heads.queries]
        table = where.table[where.slots].long()
        keys, values = (part[table].flatten(1, 2).transpose(1, 2) for part in pages)
        seen = torch.arange(keys.shape[2], device=keys.device) <= where.positions.unsqueeze(1)
        attended = functional.scaled_dot_product_attention(
            queries.unsqueeze(2),
            keys,
            values,
            attn_mask=seen[:, None, None, :],
            scale=heads.scale,
            enable_gqa=True,
        )
        return attended.squeeze(2).flatten(1)

    def normed_product(self, hidden: Tensor, norm: Tensor, epsilon: float, weight: Tensor) -> Tensor:
        return functional.linear(self.rms_norm(hidden, norm, epsilon), weight)

    def normed_gated_product(self, hidden: Tensor, norm: Tensor, epsilon: float, weight: Tensor) -> Tensor:
        return self.gated(self.normed_product(hidden, norm, epsilon, weight))

    def add_product(self, into: Tensor, hidden: Tensor, weight: Tensor, scale: float) -> None:
        into.addmm_(hidden, weight.t(), alpha=scale)

    def gated(self, gate_and_up: Tensor) -> Tensor:
        gate, up = gate_and_up.chunk(2, dim=-1)
        return functional.silu(gate) * up
