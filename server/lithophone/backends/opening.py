"""From a model's reference and what was wished for to a loaded backend.

Owns the order of things: judge the size from the configuration alone, plan where it runs, then fetch and load.
"""

from __future__ import annotations

import os

import msgspec
import structlog

from lithophone.backends.base import Backend
from lithophone.backends.device.apply import apply_plan
from lithophone.backends.device.facts import TorchFacts, read_torch_facts
from lithophone.backends.device.plan import DevicePlan, DeviceWishes
from lithophone.backends.memory import estimate_from_registry, estimate_memory, plan_for
from lithophone.backends.quantization.manifest import as_stored
from lithophone.backends.transformers_backend.checkpoint import (
    Checkpoint,
    ModelReference,
    fetch,
    fetch_config,
)
from lithophone.granite.family import Architecture
from lithophone.hub.progress import OnFetched, ignore

log = structlog.get_logger(__name__)


def open_backend(
    reference: ModelReference,
    wishes: DeviceWishes,
    *,
    room_bytes: int | None = None,
    tell: OnFetched = ignore,
) -> Backend:
    """Load a model that may take `room_bytes` at most. The thread that calls this is the one that will run it.

    What is free is asked anew each time: it changes between an unload and the next load. `tell` hears how far the download
    of a model is that has to be fetched first.

    Raises:
        CheckpointError: the checkpoint cannot be had or used.
        DoesNotFitError: it is larger than the memory that is free.
        ConfigurationError, DeviceUnavailableError: the wishes cannot be met.
    """
    facts = msgspec.structs.replace(read_torch_facts(), room_bytes=room_bytes)
    wishes = as_stored(reference.path, wishes)
    if reference.path is None:
        plan_for(
            reference.model_id, estimate_from_registry(reference.spec, wishes.quantization), facts, wishes
        )
    estimates = estimate_memory(fetch_config(reference), quantization=wishes.quantization)
    plan = plan_for(reference.model_id, estimates, facts, wishes, os.environ)
    for line in (*plan.reasons, *plan.notes):
        log.info("device", model=reference.model_id, kind=plan.kind, dtype=plan.dtype, note=line)
    checkpoint = fetch(reference, tell)
    if checkpoint.revision is not None:
        log.info("revision", model=reference.model_id, hub_id=reference.hub_id, commit=checkpoint.revision)
    return load_backend(checkpoint, plan, facts)


def load_backend(checkpoint: Checkpoint, plan: DevicePlan, facts: TorchFacts) -> Backend:
    """The backend of a checkpoint on disk, by the plan.

    Raises:
        CheckpointError: it cannot be used.
        ConfigurationError: the plan asks for what this model or this installation cannot do.
    """
    from lithophone.backends.transformers_backend.ctc import CtcBackend  # noqa: PLC0415 - transformers takes seconds
    from lithophone.backends.transformers_backend.speech import SpeechBackend  # noqa: PLC0415 - as above

    apply_plan(plan)
    if checkpoint.spec.architecture is Architecture.CTC:
        return CtcBackend.load(checkpoint, plan, facts)
    return SpeechBackend(checkpoint, plan, facts)
