"""What the decoder needs beside matrix products. `lithophone.backends.gpu.triton_kernels` has them for CUDA and ROCm."""

from __future__ import annotations

from collections.abc import Sequence
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


class Layer(NamedTuple):
    """Weights of a layer: products are [out, in], norms [hidden]."""

    first_norm: Tensor
    project: Tensor
    combine: Tensor
    second_norm: Tensor
    gate_and_up: Tensor
    down: Tensor


class Kernels(Protocol):
    """None of them waits for the device or depends on the numbers.

    A norm is a root-mean-square norm, computed in float32.
    """

    def tune(self, layers: Sequence[Layer]) -> None:
        """Find out by measuring which way of computing is fastest for these weights. Needs a device that captures graphs."""
        ...

    def begin_one_by_one(self) -> bool:
        """Let each begin when the one before it has ended; False where they always did."""
        ...

    def rms_norm(self, hidden: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        """The norm of [tokens, features], rounded before the weight is applied."""
        ...

    def normed_product(self, hidden: Tensor, norm: Tensor, epsilon: float, weight: Tensor) -> Tensor:
        """[tokens, outputs]: the norm of `hidden` [tokens, features] with weight `norm`, times `weight` [outputs, features]."""
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

    def normed_gated_product(self, hidden: Tensor, norm: Tensor, epsilon: float, weight: Tensor) -> Tensor:
        """[tokens, outputs]: the normed product with `weight` [2 * outputs, features], SiLU of its first half times its second."""
        ...

    def add_product(self, into: Tensor, hidden: Tensor, weight: Tensor, scale: float) -> None:
        """Add `scale` times `hidden` [tokens, features] times `weight` [outputs, features] to `into` [tokens, outputs]."""
        ...
