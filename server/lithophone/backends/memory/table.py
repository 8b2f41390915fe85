"""The table of the whole family: what each member needs in each dtype, and where that much is free."""

from __future__ import annotations

import msgspec

from lithophone.backends.device.facts import DTYPE_BYTES, DtypeName, TorchFacts
from lithophone.backends.device.plan import DeviceWishes, Quantization, plan_device
from lithophone.backends.memory.estimate import size_of
from lithophone.backends.memory.fits import budget_bytes
from lithophone.backends.memory.registered import (
    SMALL_BYTES,
    approximate_bytes,
    approximate_small_bytes,
    can_be_small,
    estimate_from_registry,
)
from lithophone.granite.family import FAMILY, ModelSpec


class DtypeFit(msgspec.Struct, frozen=True, kw_only=True):
    """What a model needs in one dtype, and where that much is free; `fits_gpu` is None without a GPU to use."""

    dtype: DtypeName
    required_bytes: int
    fits_cpu: bool
    fits_gpu: bool | None


class SmallFit(msgspec.Struct, frozen=True, kw_only=True):
    """What a model needs on a CPU with quantised weights, and whether that much is free."""

    quantization: Quantization
    required_bytes: int
    fits_cpu: bool


class FitRow(msgspec.Struct, frozen=True, kw_only=True):
    """One family member of the fit table; `small_fits` is empty for a model that is never quantised."""

    model_id: str
    parameters: int
    fits: tuple[DtypeFit, ...]
    small_fits: tuple[SmallFit, ...] = ()


def family_fit_table(facts: TorchFacts, wishes: DeviceWishes) -> tuple[FitRow, ...]:
    """Every family member in every dtype: what it needs, and whether the CPU and the GPUs that would serve it have it.

    Approximate: weights by parameter count plus `SERVING_ALLOWANCE_BYTES`. `check_fits` is the exact answer.

    Raises:
        StartupError: the device or dtype wished for cannot be had.
    """
    return tuple(
        FitRow(
            model_id=spec.id,
            parameters=spec.parameters,
            fits=tuple(_dtype_fit(spec, dtype, facts, wishes) for dtype in DTYPE_BYTES),
            small_fits=_small_fits(spec, facts),
        )
        for spec in FAMILY.values()
    )


def _dtype_fit(spec: ModelSpec, dtype: DtypeName, facts: TorchFacts, wishes: DeviceWishes) -> DtypeFit:
    required = approximate_bytes(spec, dtype)
    asked = msgspec.structs.replace(wishes, dtype=dtype)
    plan = plan_device(facts, asked, size=size_of(estimate_from_registry(spec)))
    return DtypeFit(
        dtype=dtype,
        required_bytes=required,
        fits_cpu=required <= facts.cpu.available_bytes,
        fits_gpu=None if plan.kind == "cpu" else required <= budget_bytes(facts, plan),
    )


def _small_fits(spec: ModelSpec, facts: TorchFacts) -> tuple[SmallFit, ...]:
    if not can_be_small(spec):
        return ()
    needs: dict[Quantization, int] = {one: approximate_small_bytes(spec, one) for one in SMALL_BYTES}
    free = facts.cpu.available_bytes
    return tuple(
        SmallFit(quantization=one, required_bytes=needed, fits_cpu=needed <= free)
        for one, needed in needs.items()
    )
