"""The language model's linear layers in 8 bits.

Owns what is quantised (the linear layers of the language model; not its embeddings and head, nor the encoder, which are
small or decide every word) and how a quantised layer multiplies. torchao chooses the 8-bit values: one scale for each
row of a weight, activations as they are.

Decoding reads every weight for each pass, so half the bytes are less time where a kernel takes 8-bit weights directly.
torch has one for CPUs, in bfloat16. Long passes (prompts, long drafts) are bound by arithmetic instead: there, and on
GPUs, a layer's weight is widened for the moment it is used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog
import torch
from torch import Tensor, nn
from torch.nn import functional

from lithophone.errors import ConfigurationError

log = structlog.get_logger(__name__)

SHORT_PASS_TOKENS = 32
"""Up to here the 8-bit kernel beat widening in float32 on a CPU with AVX2 (2048 by 8192: 30 against 38 ms)."""

KERNEL_MULTIPLE = 16
"""Of inputs and outputs. The kernel reads whole vectors and checks nothing: other sizes crash the process."""


class Int8Linear(nn.Module):
    """A linear layer of 8-bit weights.

    Args:
        values: int8 [out, in].
        scale: What a row of `values` is multiplied by, [out].
        bias: [out], or none.
    """

    values: Tensor
    scale: Tensor
    short_scale: Tensor
    bias: Tensor | None

    def __init__(self, values: Tensor, scale: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.register_buffer("values", values.contiguous())
        self.register_buffer("scale", scale.float())
        self.register_buffer("short_scale", scale.bfloat16())
        self.register_buffer("bias", bias)
        self._has_kernel = values.device.type == "cpu" and not any(n % KERNEL_MULTIPLE for n in values.shape)

    def forward(self, inputs: Tensor) -> Tensor:
        """[..., in] to [..., out], in the dtype of `inputs`."""
        rows = inputs.reshape(-1, inputs.shape[-1])
        short = self._has_kernel and len(rows) <= SHORT_PASS_TOKENS
        product = self._short(rows) if short else self._widened(rows)
        if self.bias is not None:
            product = product + self.bias
        return product.view(*inputs.shape[:-1], -1)

    def _short(self, rows: Tensor) -> Tensor:
        kernel: Any = torch.ops.aten._weight_int8pack_mm  # noqa: SLF001 - torch's own name for it
        return kernel(rows.bfloat16(), self.values, self.short_scale).to(rows.dtype)

    def _widened(self, rows: Tensor) -> Tensor:
        return functional.linear(rows, self.values.to(rows.dtype)) * self.scale.to(rows.dtype)


def quantize_language_model(model: Any) -> None:
    """Put the linear layers of `model.model.language_model` into 8 bits, in place, and log what that saves.

    Raises:
        ConfigurationError: torchao is not installed.
    """
    quantize = _quantizer()
    language_model = model.model.language_model
    before = _stored_bytes(language_model)
    found = [(name, part) for name, part in language_model.named_modules() if isinstance(part, nn.Linear)]
    for name, linear in found:
        parent, _, child = name.rpartition(".")
        setattr(language_model.get_submodule(parent), child, quantize(linear))
    log.info(
        "language_model_quantized",
        layers=len(found),
        before_bytes=before,
        after_bytes=_stored_bytes(language_model),
    )


def _quantizer() -> Callable[[nn.Linear], Int8Linear]:
    """Weight-only quantisation of one layer by torchao."""
    try:
        from torchao.quantization import (  # pyright: ignore[reportMissingImports] # noqa: PLC0415 - optional
            Int8WeightOnlyConfig,
            quantize_,
        )
    except ImportError as error:
        raise ConfigurationError(
            f"--quantization int8 needs torchao, which is not there ({error}): pip install torchao"
        ) from None
    config = Int8WeightOnlyConfig(set_inductor_config=False)

    def quantize(linear: nn.Linear) -> Int8Linear:
        quantize_(nn.Sequential(linear), config)
        weight: Any = linear.weight
        return Int8Linear(weight.qdata, weight.scale.squeeze(-1), linear.bias)

    return quantize


def _stored_bytes(module: nn.Module) -> int:
    return sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))
