"""Which layers of a model are kept in few bits, and putting them there.

Owns the choice. In the language model the linear layers are of as many bits as were asked for, its embeddings and head of
8: they are a twentieth of it and decide every word. The encoder's linear layers, and its convolutions over single
frames, are of 8 bits in either mode: it hears a window in one pass, which is bound by arithmetic, and 8 bits are the faster
arithmetic, but for AMX, which is as fast in bfloat16: there they are widened. Norms, the other convolutions, the projector and
the CTC head are small and stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any, Final, Literal

import msgspec
import structlog
import torch
from torch import Tensor, nn

from lithophone.backends.device.plan import Quantization
from lithophone.backends.heap import release_file_pages
from lithophone.backends.quantization.amx import PlainInt8Linear, WidenedInt8Linear, has_amx
from lithophone.backends.quantization.eight import (
    Int8Embedding,
    Int8Linear,
    Int8Weight,
    PackedInt8Linear,
    has_fbgemm,
)
from lithophone.backends.quantization.four import (
    GROUP,
    Int4Linear,
    Int4Weight,
    block_width,
    measured_few_rows,
    suits,
)
from lithophone.backends.quantization.joined import Joined, joined_weight
from lithophone.errors import ConfigurationError

log = structlog.get_logger(__name__)

SmallLinear = Int8Linear | Int4Linear
SmallLayer = SmallLinear | Int8Embedding
SmallWeight = Int8Weight | Int4Weight
Numbers = tuple[SmallWeight, Tensor | None]
"""A weight and a bias."""

JOINED: Final = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
"""Layers of a block of the language model that get the same input one after another."""


class Chosen(msgspec.Struct, frozen=True, eq=False):
    """A layer that is kept in few bits.

    Attributes:
        parent: The module that holds it.
        name: There.
        layer: `nn.Linear`, `nn.Conv1d` over single frames, or `nn.Embedding`.
        bits: Of a weight: 4 or 8.
        hears: It is the encoder's, which multiplies hundreds of rows at a time.
    """

    parent: nn.Module
    name: str
    layer: Any
    bits: Literal[4, 8]
    hears: bool = False

    @property
    def bytes(self) -> int:
        """What it takes in few bits, its bias left out: weights, and a scale for each row or each group."""
        rows, columns = self.layer.weight.shape[:2]
        per_row = columns if self.bits == 8 else columns // 2 + 5 * columns // GROUP
        return rows * (per_row + 8)

    @property
    def kind(self) -> type[SmallWeight]:
        """Of the numbers."""
        return Int4Weight if self.bits == 4 else Int8Weight

    @property
    def stored_shapes(self) -> dict[str, tuple[int, ...]]:
        """Of the parts of such numbers."""
        rows, columns = self.layer.weight.shape[:2]
        if self.bits == 4:
            return {"values": (rows, columns // 2), "multipliers": (rows, columns // GROUP), "scale": (rows,)}
        return {"values": (rows, columns), "scale": (rows,)}

    def made(self, weight: SmallWeight, bias: Tensor | None, dtype: torch.dtype) -> SmallLayer:
        """A layer of few bits with these numbers."""
        if isinstance(weight, Int4Weight):
            return Int4Linear(weight, bias, wide=stays_wide(dtype))
        if isinstance(self.layer, nn.Embedding):
            return Int8Embedding(weight, dtype)
        if not has_amx():
            return PackedInt8Linear(weight, bias)
        return (WidenedInt8Linear if self.hears and stays_wide(dtype) else PlainInt8Linear)(weight, bias)


def stays_wide(dtype: torch.dtype) -> bool:
    """Whether many rows of activations of a dtype are better not rounded to 8 bits on this processor."""
    return dtype is torch.bfloat16 and has_amx()


def chosen_layers(model: Any, quantization: Quantization) -> Iterator[Chosen]:
    """The layers of a Granite Speech model with a language model; on the meta device too."""
    if quantization == "none":
        return
    text = model.model.language_model
    yield Chosen(text, "embed_tokens", text.embed_tokens, 8)
    yield Chosen(model, "lm_head", model.lm_head, 8)
    for parent, name, layer in _linears(text.layers):
        small = quantization == "int4" and suits(layer.out_features, layer.in_features)
        yield Chosen(parent, name, layer, 4 if small else 8)
    for parent, name, layer in _linears(model.model.encoder.layers):
        yield Chosen(parent, name, layer, 8, hears=True)


def groups(model: Any, quantization: Quantization) -> Iterator[list[Chosen]]:
    """The chosen layers, those together that are multiplied together."""
    for _, group in groupby(chosen_layers(model, quantization), key=_company):
        yield list(group)


def _company(chosen: Chosen) -> tuple[object, ...]:
    """The same for layers that can be joined."""
    names = next((names for names in JOINED if chosen.name in names), (chosen.name,))
    return id(chosen.parent), names, chosen.bits, getattr(chosen.layer, "bias", None) is None


def put(group: Sequence[Chosen], numbers: Sequence[Numbers], dtype: torch.dtype) -> None:
    """Layers of few bits with these weights and biases in place of a group."""
    first, *others = group
    if not others:
        setattr(first.parent, first.name, first.made(*numbers[0], dtype))
        return
    weights = [weight for weight, _ in numbers]
    biases = [bias for _, bias in numbers if bias is not None]
    layer: Any = first.made(joined_weight(weights), torch.cat(biases) if biases else None, dtype)
    joined = Joined(layer, [len(weight.scale) for weight in weights])
    for chosen, part in zip(group, joined.parts(), strict=True):
        setattr(chosen.parent, chosen.name, part)


def _linears(root: nn.Module) -> Iterator[tuple[nn.Module, str, Any]]:
    """With the modules that hold them; none is kept here, so that what is replaced is let go."""
    holders = [parent for parent in root.modules() if next(parent.children(), None) is not None]
    for parent in holders:
        for name in [name for name, child in parent.named_children() if _is_linear(child)]:
            yield parent, name, parent.get_submodule(name)


def _is_linear(layer: nn.Module) -> bool:
    """Or a convolution over single frames, which is the same."""
    if isinstance(layer, nn.Conv1d):
        return layer.kernel_size == (1,) and layer.groups == 1
    return isinstance(layer, nn.Linear)


def quantize(
    model: Any,
    quantization: Quantization,
    dtype: torch.dtype,
    *,
    prepare: Callable[[nn.Module], None] | None = None,
) -> None:
    """Put the chosen layers into few bits, in place, one after another, and what is left into `dtype`.

    What a layer was made from is let go before the next, so that the whole model is never in memory.

    Args:
        model: Its weights may be mapped from files, in any dtype.
        quantization: Not "none".
        dtype: Of activations and of what stays as it is.
        prepare: Called with each layer before it is read, and with the whole model when only the others are left.

    Raises:
        ConfigurationError: this torch has no kernels for it on this processor.
    """
    _require_kernels(quantization)
    for group in groups(model, quantization):
        put(group, [_rounded(chosen, prepare) for chosen in group], dtype)
        for chosen in group:
            release_file_pages(chosen.layer.weight)
    if prepare is not None:
        prepare(model)
    settle(model, dtype)


def _rounded(chosen: Chosen, prepare: Callable[[nn.Module], None] | None) -> Numbers:
    if prepare is not None:
        prepare(chosen.layer)
    weight: Tensor = chosen.layer.weight
    return chosen.kind.of(weight.detach().flatten(1)), getattr(chosen.layer, "bias", None)


def _require_kernels(quantization: Quantization) -> None:
    if not has_fbgemm():
        raise ConfigurationError(
            "--quantization needs FBGEMM, which multiplies 8-bit weights and which this torch lacks: it is for x86 alone"
        )
    if quantization == "int4" and not block_width():
        raise ConfigurationError(
            "--quantization int4 needs AVX2 or AVX512: torch packs 4 bits in another way here; int8 works"
        )


def settle(model: Any, dtype: torch.dtype) -> None:
    """What is not in few bits into `dtype` and out of the files; and the clock on the two ways of 4 bits."""
    own = next(parameter.dtype for parameter in model.parameters() if parameter.is_floating_point())
    for module in model.modules():
        if isinstance(module, SmallLayer):
            continue
        for tensor in (*module.parameters(recurse=False), *module.buffers(recurse=False)):
            if tensor.dtype == own:
                tensor.data = tensor.data.to(dtype, copy=True)
    fours = [module for module in model.modules() if isinstance(module, Int4Linear)]
    few_rows = measured_few_rows(wide=stays_wide(dtype)) if fours else 0
    for four in fours:
        four.few_rows = few_rows
    if fours and stays_wide(dtype):
        log.info("four_bits_save_memory", advice="with AMX, --quantization int8 confirms drafts faster")
    log.info("quantized", layers=sum(1 for _ in quantized_layers(model)), few_rows=few_rows)


def quantized_layers(model: nn.Module) -> Iterator[SmallLayer]:
    """Those of few bits."""
    for module in model.modules():
        if isinstance(module, SmallLayer):
            yield module


def count_weights(model: nn.Module) -> int:
    """Parameters, however many bits each is of."""
    few = sum(layer.weights for layer in quantized_layers(model) if isinstance(layer, SmallLinear))
    return few + sum(parameter.numel() for parameter in model.parameters())
