"""Attention of prompts, each over itself: one call for all of them where torch has one, else one after another.

The call is `torch.nn.attention.varlen.varlen_attn`, which is for 16 bits on GPUs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from itertools import accumulate
from typing import Any, Final, NamedTuple, TypeAlias

import structlog
import torch
from torch import Tensor
from torch.nn import functional

from lithophone.backends.gpu.kernels import Heads

log = structlog.get_logger(__name__)

CAUSAL: Final = (-1, 0)
TRIED_LENGTHS: Final = (3, 17)
TOLERANCE: Final = 0.05
MOST_REASON: Final = 200  # characters: torch lists all it has


class Begun(NamedTuple):
    """Sequences that begin in a pass.

    Attributes:
        lengths: Tokens of each.
        bounds: int32 [sequences + 1] on the device: where each begins among them, and where the last one ends.
    """

    lengths: tuple[int, ...]
    bounds: Tensor


PromptAttention: TypeAlias = Callable[[Tensor, Begun], Tensor]
"""[tokens, query heads * width] of rotated queries, keys and values [tokens, (query heads + 2 * key heads) * width]."""


def bounds_of(lengths: tuple[int, ...]) -> list[int]:
    """See `Begun`."""
    return list(accumulate(lengths, initial=0))


def prompt_attention(heads: Heads, dtype: torch.dtype, device: torch.device) -> PromptAttention:
    """The fastest way that is there for heads of this shape and gives what it has to."""
    one_by_one = OneByOne(heads)
    bounds = torch.tensor(bounds_of(TRIED_LENGTHS), dtype=torch.int32, device=device)
    begun = Begun(TRIED_LENGTHS, bounds)
    features = (heads.queries + 2 * heads.keys) * heads.width
    noise = torch.randn(sum(TRIED_LENGTHS), features, generator=torch.Generator().manual_seed(0))
    projected = noise.to(device, dtype)
    expected = one_by_one(projected, begun)
    try:
        together = Together(heads)
        difference = (together(projected, begun) - expected).abs().max().item()
    except Exception as error:  # noqa: BLE001 - of a dtype, a device or a width that it is not for, or not there
        log.debug(
            "prompts_one_by_one", reason=f"{type(error).__name__}: {error}".partition("\n")[0][:MOST_REASON]
        )
        return one_by_one
    return together if difference <= TOLERANCE * expected.abs().max().item() else one_by_one


class OneByOne:
    """A call for each prompt.

    Args:
        heads: See there.
    """

    def __init__(self, heads: Heads) -> None:
        self._heads = heads

    def __call__(self, projected: Tensor, begun: Begun) -> Tensor:
        """See `PromptAttention`."""
        attended = [self._attended(part) for part in projected.split(list(begun.lengths))]
        return attended[0] if len(attended) == 1 else torch.cat(attended)

    def _attended(self, projected: Tensor) -> Tensor:
        queries, keys, width, scale = self._heads
        by_head = projected.view(1, len(projected), -1, width).transpose(1, 2)
        query, key, value = by_head.split([queries, keys, keys], dim=1)
        attended = functional.scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=scale, enable_gqa=queries != keys
        )
        return attended[0].transpose(0, 1).flatten(1)


class Together:
    """One call for all prompts; it takes longer to start than one for a single prompt, which goes the other way.

    Args:
        heads: See there.

    Raises:
        ImportError: this torch has none.
    """

    def __init__(self, heads: Heads) -> None:
        from torch.nn.attention.varlen import varlen_attn  # noqa: PLC0415 - torch 2.9 has none

        self._heads = heads
        self._alone = OneByOne(heads)
        self._attend: Any = varlen_attn
        asks = "enable_gqa" in inspect.signature(varlen_attn).parameters
        self._options = {"enable_gqa": True} if asks else {}

    def __call__(self, projected: Tensor, begun: Begun) -> Tensor:
        """See `PromptAttention`."""
        if len(begun.lengths) == 1:
            return self._alone(projected, begun)
        queries, keys, width, scale = self._heads
        query, key, value = projected.view(len(projected), -1, width).split([queries, keys, keys], dim=1)
        ends, longest = begun.bounds, max(begun.lengths)
        attended = self._attend(
            query, key, value, ends, ends, longest, longest, scale=scale, window_size=CAUSAL, **self._options
        )
        return attended.flatten(1)
