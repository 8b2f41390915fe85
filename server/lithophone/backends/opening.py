"""From a model name and a device plan to a loaded backend.

Owns the order of things: understand the name, judge the size from the configuration alone, then fetch and load.
"""

from __future__ import annotations

from collections.abc import Callable

from lithophone.backends.base import Backend
from lithophone.backends.device import DevicePlan, TorchFacts, apply_plan, sized
from lithophone.backends.memory import check_fits, estimate_from_registry, estimate_memory
from lithophone.backends.transformers_backend.checkpoint import ModelReference, fetch, fetch_config
from lithophone.backends.transformers_backend.ctc import CtcBackend
from lithophone.backends.transformers_backend.speech import SpeechBackend
from lithophone.granite.family import Architecture


def backend_opener(
    reference: ModelReference, plan: DevicePlan, read_facts: Callable[[], TorchFacts]
) -> Callable[[], Backend]:
    """A function that loads the model when called, as the worker does in its own thread.

    `read_facts` is asked at every call: what is free changes between an unload and the next load.

    Raises (when called):
        CheckpointError: the checkpoint cannot be had or used.
        DoesNotFitError: it is larger than the memory that is free.
    """

    def open_backend() -> Backend:
        facts = read_facts()
        if reference.path is None:
            check_fits(reference.model_id, estimate_from_registry(reference.spec, plan.dtype), facts, plan)
        estimate = estimate_memory(fetch_config(reference), plan.dtype)
        check_fits(reference.model_id, estimate, facts, plan)
        apply_plan(sized(plan, estimate.parameters))  # here, in the thread where the model will run
        checkpoint = fetch(reference)
        if checkpoint.spec.architecture is Architecture.CTC:
            return CtcBackend.load(checkpoint, plan, facts)
        return SpeechBackend(checkpoint, plan, facts)

    return open_backend
