"""An encoder of 16-bit weights on a processor that multiplies none: each layer is widened to float32 when its turn comes.

Reading and widening a layer costs a hundredth of what it then computes on half a minute of audio, and memory for one
layer; float32 weights throughout would take twice the memory.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lithophone.backends.decoding.encoder import ConformerLayer, LayersInForm


def widened_layers(encoder: Any) -> LayersInForm:
    """The layers of `model.model.encoder`, computed in float32 whatever the weights are in."""
    return LayersInForm(_WidenedLayers(encoder.layers), torch.float32)


class _WidenedLayers:
    """The layers one after another, each copied into the same float32 memory."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        self._layers = layers
        self._widened = copy.deepcopy(layers[0]).float()

    def __iter__(self) -> Iterator[ConformerLayer]:
        for layer in self._layers:
            for target, source in zip(_tensors(self._widened), _tensors(layer), strict=True):
                target.copy_(source)
            yield ConformerLayer(self._widened)


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]
