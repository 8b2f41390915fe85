"""Whether the weights of a model are numbers.

Owns one pass over the tensors of a loaded model, each read once where it is: no copies, no other dtype. Sums would do as
well, but overflow for large numbers that are finite; `isfinite` makes a temporary for every tensor.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec
import torch
from torch import Tensor, nn

from lithophone.backends.base import remedy
from lithophone.errors import NotFiniteModelError

NAMED: Final = 3
"""Damaged tensors that a message names; the rest are counted."""


class _Damage(msgspec.Struct, frozen=True):
    name: str
    has_nan: bool


def require_finite(
    tensors: Iterable[tuple[str, Tensor]], source: Path, dtype: str, *, computed: bool = False
) -> None:
    """Refuse weights that are not finite. Those that accelerate keeps elsewhere are not looked at.

    Args:
        tensors: With their names.
        source: The file or folder they are from.
        dtype: What they are in.
        computed: They come from a computation in `dtype`, so that a NaN may be an overflow.

    Raises:
        NotFiniteModelError: names the tensors and where they are from, and says what to do.
    """
    damages = [damage for name, tensor in tensors if (damage := _damage(name, tensor)) is not None]
    if not damages:
        return
    names = ", ".join(damage.name for damage in damages[:NAMED])
    more = f" and {len(damages) - NAMED} more" if len(damages) > NAMED else ""
    broken = not computed and any(damage.has_nan for damage in damages)  # a smaller dtype makes infinities
    raise NotFiniteModelError(
        f"{source} holds weights that are not finite ({names}{more}): {remedy('float32' if broken else dtype)}"
    )


def tensors_of(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers, shared ones once."""
    yield from model.named_parameters()
    yield from model.named_buffers()


def _damage(name: str, tensor: Tensor) -> _Damage | None:
    """The least and the greatest number tell: torch hands a NaN on to both."""
    if tensor.is_meta or not tensor.is_floating_point() or tensor.numel() == 0:
        return None
    least, greatest = (float(bound) for bound in torch.aminmax(tensor.detach()))
    if math.isfinite(least) and math.isfinite(greatest):
        return None
    return _Damage(name, math.isnan(least) or math.isnan(greatest))
