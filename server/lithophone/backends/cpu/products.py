"""Matrix products on a CPU by another way than torch's own, where torch's own is slow.

float32, a few rows: torch hands float32 products to MKL. For 2 to about 50 rows, which is what verifying a draft takes,
MKL's small-matrix paths can be several times slower than reading the weights once (measured on an AMD EPYC with AVX2: 8 rows
of 2048 by a matrix of 8192x2048 take 17.6 ms, one row 4.0 ms). oneDNN, which torch carries too, computes the same on the same
plain weights in 9.6 ms.

16 bits, on a processor without instructions for them: torch is as fast as memory for a single row, but beyond it multiplies at
a seventh of its float32 speed (the same machine and matrix in bfloat16: 32 rows 52 ms, 360 rows 577 ms; in float32 18 and
99 ms). `widened_linear` takes 12 and 90 ms, and no memory.

Whether either pays on a machine is for the clock to say: see `other_way_is_faster`.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

FLOAT32_ROWS: Final = range(2, 65)  # beyond, both reach the same
SIXTEEN_BIT_ROWS: Final = range(4, sys.maxsize)  # for fewer, torch's own is the faster
SIXTEEN_BITS: Final = (torch.bfloat16, torch.float16)
BLOCK_WEIGHTS: Final = 1 << 20  # widened at a time: 4 MB, which stay in the cache until they are multiplied
FEW_ROWS: Final = 128  # up to here the weights come first in the product, which is then up to twice as fast

TRIED_ROWS: Final = (8, 32, 2)  # a verified draft first: there the ways differ most
TRIED_ROUNDS: Final = 3
CLEARLY: Final = 3.0  # so much slower, one look is enough: each takes a second in 16 bits
TRIED_BYTES: Final = 128 << 20  # more than caches hold, so that weights come from memory as they do in a pass

Product = Callable[[Tensor, Tensor, Tensor | None], Tensor]


class Switch:
    """Whether products go the other way just now.

    Args:
        rows: The lengths of the passes that may.

    Attributes:
        wanted: They are faster there on this machine.
    """

    def __init__(self, rows: range) -> None:
        self.wanted = False
        self._rows = rows
        self._on = False

    @property
    def on(self) -> bool:
        """They go there."""
        return self._on

    @contextmanager
    def during_pass(self, rows: int) -> Iterator[None]:
        """For one pass over so many rows; outside, and in `generate`, torch does as it always does."""
        self._on = self.wanted and rows in self._rows
        try:
            yield
        finally:
            self._on = False


class SwitchedLinear(nn.Module):
    """A linear layer with the weights of another, computed where the switch says."""

    def __init__(self, linear: nn.Linear, switch: Switch) -> None:
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self._product: Product = widened_linear if linear.weight.dtype in SIXTEEN_BITS else _onednn_linear
        self._switch = switch

    def switch_to(self, switch: Switch) -> None:
        """Listen to another switch: a second language model has taken over the same layers."""
        self._switch = switch

    def forward(self, rows: Tensor) -> Tensor:
        """See `nn.Linear`."""
        return self.multiply(rows, other=self._switch.on)

    def multiply(self, rows: Tensor, *, other: bool) -> Tensor:
        """The same by torch's own way, or by the other one."""
        product = self._product if other else functional.linear
        return product(rows, self.weight, self.bias)


def _onednn_linear(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")  # noqa: SLF001 - oneDNN's product for plain tensors has no public name


def widened_linear(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`functional.linear` with products and sums in float32, the weights widened block by block.

    Args:
        rows: [..., in], in the dtype of the weights.
        weight: bfloat16 or float16 [out, in].
        bias: The same [out], or none.

    Returns:
        [..., out], rounded to the dtype of the weights.
    """
    out_features, in_features = weight.shape
    flat = rows.reshape(-1, in_features).float()
    step = min(out_features, max(1, BLOCK_WEIGHTS // in_features))
    block = flat.new_empty(step, in_features)
    turned = len(flat) <= FEW_ROWS
    product = flat.new_empty((out_features, len(flat)) if turned else (len(flat), out_features))
    for first in range(0, out_features, step):
        part = slice(first, min(first + step, out_features))
        widened = block[: part.stop - first].copy_(weight[part])
        if turned:
            torch.mm(widened, flat.t(), out=product[part])
        else:
            torch.mm(flat, widened.t(), out=product[:, part])
    product = product.t() if turned else product
    if bias is not None:
        product = product + bias.float()
    return product.to(weight.dtype, memory_format=torch.contiguous_format).view(*rows.shape[:-1], -1)


def other_way_is_faster(parent: nn.Module) -> bool:
    """Whether the switched layers below `parent` multiply a few rows faster the other way, by the clock."""
    layers = _some_of([module for module in parent.modules() if isinstance(module, SwitchedLinear)])
    plain, other = dict.fromkeys(TRIED_ROWS, math.inf), dict.fromkeys(TRIED_ROWS, math.inf)
    for rows in TRIED_ROWS * TRIED_ROUNDS:  # in turns, so that a busy moment does not decide
        plain[rows] = min(plain[rows], _seconds(layers, rows, other=False))
        other[rows] = min(other[rows], _seconds(layers, rows, other=True))
        if max(plain[rows], other[rows]) > CLEARLY * min(plain[rows], other[rows]):
            return other[rows] < plain[rows]
    return sum(other.values()) < sum(plain.values())


def _some_of(layers: Sequence[SwitchedLinear]) -> list[SwitchedLinear]:
    """The first, until their weights are as many as are tried."""
    taken: list[SwitchedLinear] = []
    for layer in layers:
        if sum(one.weight.nbytes for one in taken) >= TRIED_BYTES:
            break
        taken.append(layer)
    return taken


def _seconds(layers: Sequence[SwitchedLinear], rows: int, *, other: bool) -> float:
    inputs = {layer.in_features: layer.weight.new_zeros(rows, layer.in_features) for layer in layers}
    began = time.perf_counter()
    for layer in layers:
        layer.multiply(inputs[layer.in_features], other=other)
    return time.perf_counter() - began


def widened_products(parent: nn.Module, dtype: torch.dtype, *, wanted: bool) -> Switch:
    """A switch for the linear layers below `parent`, which stay as they are unless it is wanted."""
    switch = Switch(rows_switched(dtype))
    switch.wanted = wanted and switch_linears(parent, switch) > 0
    return switch


def rows_switched(dtype: torch.dtype) -> range:
    """The passes for which there is another way, by the dtype of the weights."""
    return SIXTEEN_BIT_ROWS if dtype in SIXTEEN_BITS else FLOAT32_ROWS


def can_switch(module: Any) -> bool:
    """Whether a module is a plain linear layer on the CPU for which there is another way."""
    return (
        type(module) is nn.Linear
        and type(module.weight) is nn.Parameter
        and type(module.weight.data) is Tensor
        and (module.weight.dtype in SIXTEEN_BITS or (module.weight.dtype == torch.float32 and _has_onednn()))
        and module.weight.device.type == "cpu"
        and not hasattr(module, "_hf_hook")  # accelerate moves its weights
    )


def _has_onednn() -> bool:
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def switch_linears(parent: nn.Module, switch: Switch) -> int:
    """Put a switch into every linear layer below `parent` that can take one; returns how many have it."""
    count = 0
    for name, child in list(parent.named_children()):
        if can_switch(child):
            setattr(parent, name, SwitchedLinear(child, switch))  # type: ignore[arg-type] - checked above
            count += 1
        elif isinstance(child, SwitchedLinear):
            child.switch_to(switch)
            count += 1
        else:
            count += switch_linears(child, switch)
    return count
