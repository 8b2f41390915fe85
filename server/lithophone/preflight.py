"""What can be refused before transformers is imported and anything is fetched.

Owns one check: a published model that is larger, by its parameters alone, than the memory that is free.
"""

from __future__ import annotations

from lithophone.backends.device.facts import read_torch_facts
from lithophone.backends.device.plan import DeviceWishes
from lithophone.backends.memory.fits import plan_for
from lithophone.backends.memory.registered import estimate_from_registry
from lithophone.granite.family import find_spec


def refuse_what_cannot_fit(model: str, wishes: DeviceWishes) -> None:
    """Nothing happens for folders, unknown hub ids, and models that fit.

    Raises:
        DoesNotFitError: says what is needed, what is free and what would fit.
        StartupError: the device or dtype cannot be had.
    """
    spec = find_spec(model)
    if spec is not None:
        plan_for(spec.id, estimate_from_registry(spec, wishes.quantization), read_torch_facts(), wishes)
