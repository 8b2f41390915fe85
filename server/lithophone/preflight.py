"""What can be refused before transformers is imported and anything is fetched.

Owns one check: a published model that is larger, by its parameters alone, than the memory that is free.
"""

from __future__ import annotations

from lithophone.backends.device import DeviceRequest, DtypeRequest, plan_device, read_torch_facts
from lithophone.backends.memory import check_fits, estimate_from_registry
from lithophone.granite.family import find_spec


def refuse_what_cannot_fit(
    model: str, device: DeviceRequest, dtype: DtypeRequest, *, cpu_offload: bool
) -> None:
    """Nothing happens for folders, unknown hub ids, and models that fit.

    Raises:
        DoesNotFitError: says what is needed, what is free and what would fit.
        StartupError: the device or dtype cannot be had.
    """
    spec = find_spec(model)
    if spec is None:
        return
    facts = read_torch_facts()
    plan = plan_device(facts, device, dtype, cpu_offload=cpu_offload)
    check_fits(spec.id, estimate_from_registry(spec, plan.dtype), facts, plan)
