"""What the decoder needs beside matrix products. `lithophone.backends.gpu.triton_kernels` has them for CUDA and ROCm."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor


class Heads(NamedTuple):
    """The shape of attention: query heads, key and value heads, numbers of each, and the scale of the scores."""

    queries: int
    keys: int
    width: int
    scale: float


class Where(NamedTuple):
    """Where the tokens of a pass belong.

    Attributes:
        slots: int32 [tokens]: the row of `table` of each.
        positions: int32 [tokens]: of each in its sequence.
        table: int32 [slots, pages]: see `PageTable`.
        rotation: float32 [positions, width]: cosines of half the width, then sines, at every position there may be.
    """

    slots: Tensor
    positions: Tensor
    table: Tensor
    rotation: Tensor


class Pages(NamedTuple):
    """Keys and values of one layer: [pages, PAGE_POSITIONS, key heads, width] each."""

    keys: Tensor
    values: Tensor


class Kernels(Protocol):
    """One kernel each, none of which waits or depends on the numbers."""

    def rms_norm(self, hidden: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        """Root-mean-square norm of [tokens, features], computed in float32 and rounded before the weight is applied."""
        ...

    def rotate_and_store(self, projected: Tensor, where: Where, pages: Pages, heads: Heads) -> None:
        """Rotate queries and keys by their positions, in place, and store keys and values in their pages.

        Args:
            projected: [tokens, (query heads + 2 * key heads) * width]: queries, keys, values.
            where: See there.
            pages: Of the layer.
            heads: See there.
        """
        ...

    def attend(self, projected: Tensor, where: Where, pages: Pages, heads: Heads) -> Tensor:
        """[tokens, query heads * width]: each token over its sequence up to itself, from the pages."""
        ...

    def gated(self, gate_and_up: Tensor) -> Tensor:
        """SiLU of the first half of [tokens, 2 * features], times the second: [tokens, features]."""
        ...
