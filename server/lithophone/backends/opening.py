"""From a model's reference and what was wished for to a loaded backend.

Owns the order of things: judge the size from the configuration alone, plan where it runs, fetch, load, and where the dtype is
on trial try it on speech.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager

import msgspec
import structlog

from lithophone.backends.base import Backend
from lithophone.backends.device.apply import apply_plan
from lithophone.backends.device.facts import TorchFacts, read_torch_facts
from lithophone.backends.device.plan import DevicePlan, DeviceWishes
from lithophone.backends.memory.estimate import Estimates, estimate_memory
from lithophone.backends.memory.fits import plan_for
from lithophone.backends.memory.registered import estimate_from_registry
from lithophone.backends.quantization.manifest import as_stored
from lithophone.backends.transformers_backend.checkpoint import (
    Checkpoint,
    ModelReference,
    fetch,
    fetch_config,
)
from lithophone.errors import CheckpointError, DoesNotFitError, NotFiniteModelError
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
    facts = _facts(room_bytes)
    wishes = as_stored(reference.path, wishes)
    if (
        reference.path is None and reference.hub_id == reference.spec.hub_id
    ):  # another's size is not in the registry
        plan_for(
            reference.model_id, estimate_from_registry(reference.spec, wishes.quantization), facts, wishes
        )
    estimates = estimate_memory(fetch_config(reference), quantization=wishes.quantization)
    plan = plan_for(reference.model_id, estimates, facts, wishes, os.environ)
    _tell_plan(reference, plan)
    checkpoint = fetch(reference, tell)
    if checkpoint.revision is not None:
        log.info("revision", model=reference.model_id, hub_id=reference.hub_id, commit=checkpoint.revision)
    with _mended_by_pull(reference):
        if not plan.dtype_on_trial:
            return load_backend(checkpoint, plan, facts)
        tried = _load_on_trial(checkpoint, plan, facts)
        if not isinstance(tried, NotFiniteModelError):
            return tried
        facts = _facts(room_bytes)
        plan = _plan_without_float16(reference, estimates, facts, wishes, tried)
        _tell_plan(reference, plan)
        return load_backend(checkpoint, plan, facts)


@contextmanager
def _mended_by_pull(reference: ModelReference) -> Generator[None]:
    """Say of a model from the hub that cannot be used how to mend its files.

    Raises:
        CheckpointError: as before, with that.
    """
    try:
        yield
    except NotFiniteModelError:
        raise
    except CheckpointError as error:
        if reference.path is not None:
            raise
        pull = f"lithophone pull {reference.hub_id or reference.model_id}"
        raise CheckpointError(
            f"{error.message}; `{pull}` checks every file and fetches anew what is damaged"
        ) from error


def _facts(room_bytes: int | None) -> TorchFacts:
    return msgspec.structs.replace(read_torch_facts(), room_bytes=room_bytes)


def _tell_plan(reference: ModelReference, plan: DevicePlan) -> None:
    for line in (*plan.reasons, *plan.notes):
        log.info("device", model=reference.model_id, kind=plan.kind, dtype=plan.dtype, note=line)


def _load_on_trial(
    checkpoint: Checkpoint, plan: DevicePlan, facts: TorchFacts
) -> Backend | NotFiniteModelError:
    """The backend, once real speech came out of it finite; else what was not, and the memory is free again."""
    from lithophone.backends.transformers_backend.warm_up import try_speech  # noqa: PLC0415 - as below

    try:
        backend = load_backend(checkpoint, plan, facts)
    except NotFiniteModelError as error:
        return error
    try:
        try_speech(backend)
    except NotFiniteModelError as error:
        backend.close()
        return error
    return backend


def _plan_without_float16(
    reference: ModelReference,
    estimates: Estimates,
    facts: TorchFacts,
    wishes: DeviceWishes,
    seen: NotFiniteModelError,
) -> DevicePlan:
    """In float32, and why.

    Raises:
        DoesNotFitError: that is too large; says why it is wanted.
    """
    overflow = seen.message.partition(": ")[0]
    try:
        return plan_for(reference.model_id, estimates, facts, wishes, os.environ, overflow=overflow)
    except DoesNotFitError as error:
        raise DoesNotFitError(f"{overflow}. {error.message}", lacking_bytes=error.lacking_bytes) from None


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
