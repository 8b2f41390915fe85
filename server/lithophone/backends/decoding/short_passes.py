"""Matrix products of a few rows in float32 on a CPU, by the library that is better at them.

torch hands float32 products to MKL. For 2 to about 50 rows, which is what verifying a draft takes, MKL's small-matrix
paths can be several times slower than reading the weights once (measured on an AMD EPYC with AVX2: 8 rows of 2048 by a
matrix of 8192x2048 take 17.6 ms, one row 4.0 ms). oneDNN, which torch carries too, computes the same on the same plain
weights in 9.6 ms. Whether it pays on a machine is for the clock to say: see `measure_pass_cost`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

MOST_ROWS = 64  # beyond, both reach the same


class Switch:
    """Whether products of a few rows go to oneDNN just now.

    Attributes:
        wanted: They are faster there on this machine.
    """

    def __init__(self) -> None:
        self.wanted = False
        self._on = False

    @property
    def on(self) -> bool:
        """They go there."""
        return self._on

    @contextmanager
    def during_pass(self, rows: int) -> Iterator[None]:
        """For one pass over so many rows; outside, and in `generate`, torch does as it always does."""
        self._on = self.wanted and 1 < rows <= MOST_ROWS
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
        self._switch = switch

    def switch_to(self, switch: Switch) -> None:
        """Listen to another switch: a second language model has taken over the same layers."""
        self._switch = switch

    def forward(self, rows: Tensor) -> Tensor:
        """See `nn.Linear`."""
        if self._switch.on:
            return torch.ops.mkldnn._linear_pointwise(rows, self.weight, self.bias, "none", [], "")  # noqa: SLF001 - oneDNN's product for plain tensors has no public name
        return functional.linear(rows, self.weight, self.bias)


def can_switch(module: Any) -> bool:
    """Whether a module is a plain float32 linear layer on the CPU, and this torch has oneDNN."""
    return (
        type(module) is nn.Linear
        and type(module.weight) is nn.Parameter
        and type(module.weight.data) is Tensor
        and module.weight.dtype == torch.float32
        and module.weight.device.type == "cpu"
        and not hasattr(module, "_hf_hook")  # accelerate moves its weights
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


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
