"""How many windows a model takes at a time.

Owns the number a backend begins with. Where it turns out to be too many, the worker learns it: on a GPU when the model is
loaded, by a rehearsal of the full batch, and everywhere when memory runs out (`lithophone.worker.limit`).
"""

from __future__ import annotations

from typing import Any, Final

from lithophone.backends.device.facts import TorchFacts
from lithophone.backends.device.plan import DevicePlan
from lithophone.backends.memory.estimate import estimate_memory
from lithophone.backends.memory.fits import budget_bytes

MOST_WINDOWS_ON_CPU: Final = 16  # arithmetic bounds it long before: more windows are no faster together
MOST_WINDOWS_ON_GPU: Final = 64


def windows_at_a_time(config: Any, plan: DevicePlan, facts: TorchFacts) -> int:
    """What was asked for; else as many as half of the memory beside the model holds, within reason."""
    if plan.max_batch:
        return plan.max_batch
    one = estimate_memory(config, quantization=plan.quantization)[plan.dtype]
    spare = budget_bytes(facts, plan) - one.required_bytes
    most = MOST_WINDOWS_ON_CPU if plan.kind == "cpu" else MOST_WINDOWS_ON_GPU
    return max(1, min(most, 1 + spare // 2 // (one.activations_bytes + one.kv_cache_bytes)))
