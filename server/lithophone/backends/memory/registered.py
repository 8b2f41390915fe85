"""What a member of the family needs by its number of parameters alone, before even its configuration is fetched."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from lithophone.backends.device.facts import DTYPE_BYTES, DtypeName
from lithophone.backends.device.plan import Quantization
from lithophone.backends.memory.estimate import WORKSPACE_BYTES, Estimates, MemoryEstimate
from lithophone.granite.family import Architecture, ModelSpec

SMALL_BYTES: Final[Mapping[Quantization, float]] = MappingProxyType({"int8": 1.0, "int4": 0.67})
"""Of a quantised weight."""

SMALL_FIXED_BYTES: Final = 400 << 20
"""Of quantised members beside that: the encoder stays in 8 bits, embeddings are there twice, the projector is not quantised.
As much again is what it takes to work. A test compares both with the exact ones."""

SERVING_ALLOWANCE_BYTES: Final = 768 << 20
"""Upper bound of everything but weights for one 30 s window of any family member in any dtype (a test keeps it so)."""


def can_be_small(spec: ModelSpec) -> bool:
    """Whether `--quantization` is for it: 5.0 has no language model, and the demonstration is small."""
    return spec.architecture is not Architecture.CTC and not spec.demonstration


def estimate_from_registry(spec: ModelSpec, quantization: Quantization = "none") -> Estimates:
    """Estimates for a published model whose configuration is not here yet."""
    return {
        dtype: MemoryEstimate(
            dtype=dtype,
            parameters=spec.parameters,
            weights_bytes=registered_bytes(spec, dtype, quantization),
            activations_bytes=max(0, _margin_bytes(spec, dtype) - WORKSPACE_BYTES),
            kv_cache_bytes=0,
        )
        for dtype in DTYPE_BYTES
    }


def approximate_bytes(spec: ModelSpec, dtype: DtypeName) -> int:
    """Weights of a family member plus a margin that grows with them up to the whole allowance."""
    return spec.parameters * DTYPE_BYTES[dtype] + _margin_bytes(spec, dtype)


def approximate_small_bytes(spec: ModelSpec, quantization: Quantization) -> int:
    """What a family member takes with quantised weights."""
    return registered_bytes(spec, "bfloat16", quantization) + SMALL_FIXED_BYTES


def registered_bytes(spec: ModelSpec, dtype: DtypeName, quantization: Quantization) -> int:
    """Weights by their number alone."""
    if quantization == "none":
        return spec.parameters * DTYPE_BYTES[dtype]
    return SMALL_FIXED_BYTES + round(spec.parameters * SMALL_BYTES[quantization])


def _margin_bytes(spec: ModelSpec, dtype: DtypeName) -> int:
    return min(SERVING_ALLOWANCE_BYTES, WORKSPACE_BYTES + spec.parameters * DTYPE_BYTES[dtype] // 6)
