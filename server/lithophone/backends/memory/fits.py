"""Whether a model fits where it is to run, and what would fit instead."""

from __future__ import annotations

from collections.abc import Mapping

from lithophone.backends.device.facts import DTYPE_BYTES, DtypeName, TorchFacts
from lithophone.backends.device.plan import DevicePlan, DeviceWishes, plan_device
from lithophone.backends.memory.estimate import Estimates, MemoryEstimate, format_gb, size_of
from lithophone.backends.memory.registered import (
    SMALL_BYTES,
    approximate_bytes,
    can_be_small,
    registered_bytes,
)
from lithophone.errors import DoesNotFitError
from lithophone.granite.family import FAMILY, ModelSpec


def plan_for(
    model_name: str,
    estimates: Estimates,
    facts: TorchFacts,
    wishes: DeviceWishes,
    environ: Mapping[str, str] | None = None,
    *,
    overflow: str = "",
) -> DevicePlan:
    """Where a model of known size runs; `overflow` is what was seen of it in float16, if that does not serve it.

    Raises:
        DoesNotFitError: nowhere; says what is needed, what is free and what would fit.
        ConfigurationError, DeviceUnavailableError: see `plan_device`.
    """
    plan = plan_device(facts, wishes, size=size_of(estimates), environ=environ, overflow=overflow)
    check_fits(model_name, estimates[plan.dtype], facts, plan)
    return plan


def budget_bytes(facts: TorchFacts, plan: DevicePlan) -> int:
    """Bytes that the model may take: what is free, as far as it is the model's to take."""
    free = _free_bytes(facts, plan)
    return free if facts.room_bytes is None else min(free, facts.room_bytes)


def _free_bytes(facts: TorchFacts, plan: DevicePlan) -> int:
    """What torch reports for the GPUs of the plan, or the CPU's available memory.

    On unified memory torch's own figure counts, not a table of VRAM sizes. With CPU offload both are added.
    """
    gpus = sum(facts.gpus[index].budget_bytes for index in plan.gpu_indexes)
    system = facts.cpu.available_bytes if plan.kind == "cpu" or plan.cpu_offload else 0
    return gpus + system


def check_fits(model_name: str, estimate: MemoryEstimate, facts: TorchFacts, plan: DevicePlan) -> None:
    """Refuse a model that is larger than the memory it may take.

    Raises:
        DoesNotFitError: says what is needed, what is free and what would fit.
    """
    free = budget_bytes(facts, plan)
    if estimate.required_bytes <= free:
        return
    where = _where(plan) if free == _free_bytes(facts, plan) else "of the memory budget"
    raise DoesNotFitError(
        f"{model_name} in {estimate.dtype} needs {format_gb(estimate.required_bytes)} "
        f"({format_gb(estimate.weights_bytes)} of weights), but {format_gb(free)} is free {where}. "
        f"{_alternatives(model_name, estimate, facts, plan)}",
        lacking_bytes=estimate.required_bytes - free,
    )


def _where(plan: DevicePlan) -> str:
    if plan.kind == "cpu":
        return "in system memory"
    count = len(plan.gpu_indexes)
    gpus = "on the GPU" if count == 1 else f"on {count} GPUs"
    return f"{gpus} and in system memory" if plan.cpu_offload else gpus


def _alternatives(model_name: str, estimate: MemoryEstimate, facts: TorchFacts, plan: DevicePlan) -> str:
    free = budget_bytes(facts, plan)
    smaller = [
        *(f"--dtype {dtype}" for dtype in _smaller_dtypes(estimate, free)),
        *_smaller_weights(model_name, estimate, free, plan),
    ]
    members = [
        f"{spec.id} ({'any dtype' if len(dtypes) == len(DTYPE_BYTES) else ', '.join(dtypes)})"
        for spec in FAMILY.values()
        if spec.id not in model_name and not spec.demonstration and (dtypes := _fitting_dtypes(spec, free))
    ]
    found = [*([f"this model with {' or '.join(smaller)}"] if smaller else []), *members]
    return f"What would fit: {'; '.join(found)}." if found else "No model of the family would fit."


def _smaller_weights(model_name: str, estimate: MemoryEstimate, free: int, plan: DevicePlan) -> list[str]:
    """On a CPU, the first way to quantise a member of the family that makes it fit."""
    spec = FAMILY.get(model_name)
    if plan.kind != "cpu" or plan.quantization != "none" or spec is None or not can_be_small(spec):
        return []
    for one in SMALL_BYTES:
        if registered_bytes(spec, estimate.dtype, one) + estimate.working_bytes <= free:
            return [f"--quantization {one}"]
    return []


def _smaller_dtypes(estimate: MemoryEstimate, free: int) -> list[DtypeName]:
    size = DTYPE_BYTES[estimate.dtype]
    fixed = estimate.working_bytes
    return [
        dtype
        for dtype, other in DTYPE_BYTES.items()
        if other < size and estimate.weights_bytes * other // size + fixed <= free
    ]


def _fitting_dtypes(spec: ModelSpec, free: int) -> list[DtypeName]:
    return [dtype for dtype in DTYPE_BYTES if approximate_bytes(spec, dtype) <= free]
