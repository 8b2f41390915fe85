"""The head over the language model: hidden states to logits, with sums that are not rounded to 16 bits."""

from __future__ import annotations

import torch
from torch import Tensor


class Head:
    """Scaled logits in float32.

    Two logits of a 16-bit head are often the same number. Where torch can give the product's sums in float32 it does; else
    the rounded ones are widened, as transformers has them.

    Args:
        weight: [vocabulary, hidden].
        scaling: What the logits are divided by, which transformers' Granite Speech classes leave out.
    """

    def __init__(self, weight: Tensor, scaling: float) -> None:
        self._weight = weight
        self._scaling = scaling
        self._widens = weight.dtype != torch.float32 and _can_widen(weight)

    def __call__(self, hidden: Tensor) -> Tensor:
        """Float32 [tokens, vocabulary] of [tokens, hidden]."""
        turned = self._weight.t()
        if self._widens:
            logits = torch.mm(hidden, turned, out_dtype=torch.float32)
        else:
            logits = torch.mm(hidden, turned).float()
        return logits.div_(self._scaling)


def _can_widen(weight: Tensor) -> bool:
    """Whether this torch has the product for this device; by trying."""
    try:
        torch.mm(weight[:1], weight[:1].t(), out_dtype=torch.float32)
    except (RuntimeError, NotImplementedError, TypeError):
        return False
    return True
