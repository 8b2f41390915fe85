"""Linear layers and embeddings of 8-bit weights, one scale for each row of a weight.

Owns the product of 8-bit weights with 8-bit activations. Integers are multiplied and added up exactly: a row's result is the
same number in any company, whatever multiplies them. FBGEMM, which torch carries for x86, keeps the weight packed and reads it
once for any number of rows.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec
import torch
from torch import Tensor, nn
from torch.nn import functional

from lithophone.backends.quantization.rounding import LEAST_SIZE, LEVELS, rounded_blocks

NARROW_LEVELS: Final = 63
"""Without VNNI, FBGEMM and oneDNN add pairs of products in 16 bits, which activations of 8 bits could overflow."""

ENGINE: Final = "fbgemm"
BLOCK_WEIGHTS: Final = 1 << 18  # rounded at a time: what that takes stays in the cache


class Int8Weight(msgspec.Struct, frozen=True, eq=False):
    """A weight in 8 bits.

    Attributes:
        values: int8 [out, in].
        scale: float32 [out].
    """

    values: Tensor
    scale: Tensor

    @classmethod
    def of(cls, weight: Tensor) -> Int8Weight:
        """The nearest one: the largest number of each row becomes 127 or -127."""
        rounded = [_rounded(block) for block in row_blocks(weight)]
        return cls(torch.cat([values for values, _ in rounded]), torch.cat([scale for _, scale in rounded]))

    def widened(self) -> Tensor:
        """float32 [out, in]: what it stands for."""
        return self.values * self.scale.unsqueeze(1)


def row_blocks(weight: Tensor) -> Iterator[Tensor]:
    """Some rows of a weight at a time."""
    yield from weight.detach().split(max(1, BLOCK_WEIGHTS // weight.shape[1]))


def _rounded(block: Tensor) -> tuple[Tensor, Tensor]:
    wide = block.float()
    scale = (wide.abs().amax(dim=1) / LEVELS).clamp_(min=LEAST_SIZE)
    return (wide / scale.unsqueeze(1)).round_().to(torch.int8), scale


class Int8Linear(nn.Module, ABC):
    """A linear layer of 8-bit weights, however it multiplies.

    Args:
        weight: See `Int8Weight`.
        bias: [out], or none.
    """

    bias: Tensor | None

    def __init__(self, weight: Int8Weight, bias: Tensor | None) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.values.shape
        self.register_buffer("bias", None if bias is None else bias.detach().clone())

    @property
    def weights(self) -> int:
        """How many."""
        return self.out_features * self.in_features

    @property
    def packed_bytes(self) -> int:
        """Of what it keeps that is no tensor."""
        return 0

    @abstractmethod
    def stored(self) -> Int8Weight:
        """The weight."""

    def forward(self, inputs: Tensor) -> Tensor:
        """[..., in] to [..., out], in the dtype of `inputs`."""
        given = self.multiply(inputs.reshape(-1, self.in_features))
        return given.view(*inputs.shape[:-1], -1)

    @abstractmethod
    def multiply(self, rows: Tensor) -> Tensor:
        """[rows, in] to [rows, out], the bias added."""

    def multiply_whole(
        self, rows: Tensor, levels: int, dtype: torch.dtype, product: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """The same by whole numbers: `product` takes [n, in] of a dtype to [n, out] before the scale of the rows."""
        given = rows.new_empty(len(rows), self.out_features)
        at = 0
        for block in rounded_blocks(rows, self.out_features, levels, dtype=dtype):
            restored = block.restored(product(block.whole))
            if self.bias is not None:
                restored.add_(self.bias)
            given[at : at + len(restored)] = restored
            at += len(restored)
        return given


class PackedInt8Linear(Int8Linear):
    """By FBGEMM. Of the weight it keeps what that has packed, which is no tensor."""

    def __init__(self, weight: Int8Weight, bias: Tensor | None) -> None:
        super().__init__(weight, bias)
        self._levels = LEVELS if has_vnni() else NARROW_LEVELS
        self._packed = _packed(weight)

    @property
    def packed_bytes(self) -> int:
        """One for each number; for each row a scale and the sum that FBGEMM keeps."""
        return self.weights + 8 * self.out_features

    def stored(self) -> Int8Weight:
        """The weight, unpacked."""
        weight, _ = self._packed.unpack()
        return Int8Weight(weight.int_repr(), weight.q_per_channel_scales().float())

    def multiply(self, rows: Tensor) -> Tensor:
        """See `Int8Linear`."""
        return self.multiply_whole(rows, self._levels, torch.float32, self._product)

    def _product(self, whole: Tensor) -> Tensor:
        """float32 [rows, out]; FBGEMM turns the whole numbers into bytes with `levels` + 1 for zero."""
        kernel: Any = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32
        return kernel(whole, 1.0, self._levels + 1, self._packed)


class Int8Embedding(nn.Module):
    """An embedding of 8-bit weights.

    Args:
        weight: [tokens, hidden].
        dtype: Of what it gives.
    """

    values: Tensor
    scale: Tensor

    def __init__(self, weight: Int8Weight, dtype: torch.dtype) -> None:
        super().__init__()
        self.register_buffer("values", weight.values)
        self.register_buffer("scale", weight.scale)
        self._dtype = dtype

    def stored(self) -> Int8Weight:
        """The weight."""
        return Int8Weight(self.values, self.scale)

    def forward(self, tokens: Tensor) -> Tensor:
        """[...] to [..., hidden]."""
        rows = functional.embedding(tokens, self.values)
        return (rows * self.scale[tokens].unsqueeze(-1)).to(self._dtype)


def _packed(weight: Int8Weight) -> Any:
    zeros = torch.zeros(len(weight.scale), dtype=torch.long)
    with warnings.catch_warnings():
        # torch 2.13 means to drop it
        warnings.filterwarnings("ignore", "torch.quantize_per_tensor", UserWarning)
        # of integers that are there it has no public name
        make: Any = torch.ops.aten._make_per_channel_quantized_tensor  # noqa: SLF001 - see above
        made = make(weight.values, weight.scale.double(), zeros, 0)
    torch.backends.quantized.engine = ENGINE
    return torch.ops.quantized.linear_prepack(made, None)


def has_fbgemm() -> bool:
    """Whether this torch has the library that multiplies 8-bit weights, which is for x86 alone."""
    return ENGINE in torch.backends.quantized.supported_engines


def has_vnni() -> bool:
    """Whether this processor adds products of 8 bits in 32."""
    return bool(torch.cpu._is_vnni_supported())  # noqa: SLF001 - torch has no public name for it
