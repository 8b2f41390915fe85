"""Which model is measured, with which weights, and whether it fits.

Owns the choice between weights that are on this machine and random ones. Nothing is ever downloaded here but the
configuration of a hub id that is not a member of the family.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from lithophone.backends.device.apply import apply_plan
from lithophone.backends.device.facts import TorchFacts
from lithophone.backends.device.plan import DevicePlan, DeviceWishes, plan_device
from lithophone.backends.memory import Estimates, check_fits, estimate_memory, load_config, size_of
from lithophone.backends.transformers_backend.checkpoint import (
    Checkpoint,
    ModelReference,
    read_reference,
)
from lithophone.backends.transformers_backend.loading import load_checkpoint
from lithophone.bench.weights import family_config, random_model, random_processor
from lithophone.granite.family import Architecture, ModelSpec
from lithophone.hub.cache import DEFAULT_REVISION, find_snapshot, lacks


class OpenedModel(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """A transformers model with its processor, where it is, and where its weights are from."""

    spec: ModelSpec
    model_id: str
    plan: DevicePlan
    model: Any
    processor: Any
    is_random: bool
    note: str | None = None

    @property
    def parameters(self) -> int:
        """Numbers in its weights; shared ones count once."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    @property
    def is_ctc(self) -> bool:
        """There is no language model."""
        return self.spec.architecture is Architecture.CTC


def open_model(
    name: str,
    wishes: DeviceWishes,
    facts: TorchFacts,
    *,
    random_weights: bool,
    batch: int,
    revision: str = DEFAULT_REVISION,
) -> OpenedModel:
    """Load or make the model for batches of up to `batch` windows.

    Raises:
        CheckpointError: the name is no model, or its files cannot be used.
        ConfigurationError: random weights are asked for and the shape is not known.
        DoesNotFitError: it is larger than the memory that is free.
    """
    reference = read_reference(name, revision)
    folder = reference.path or _cached(reference)
    if random_weights or folder is None:
        return _opened_at_random(reference, folder, wishes, facts, batch=batch, asked=random_weights)
    plan = _one_device(reference.model_id, estimate_memory(folder, batch=batch), facts, wishes)
    apply_plan(plan)
    checkpoint = Checkpoint(path=folder, spec=reference.spec, model_id=reference.model_id)
    loaded = load_checkpoint(checkpoint, plan, facts)
    return OpenedModel(
        spec=reference.spec,
        model_id=reference.model_id,
        plan=plan,
        model=loaded.model,
        processor=loaded.processor,
        is_random=False,
    )


def _one_device(model_id: str, estimates: Estimates, facts: TorchFacts, wishes: DeviceWishes) -> DevicePlan:
    """Figures of one device mean something; those of layers spread over several are about the wires between."""
    plan = plan_device(facts, wishes, size=size_of(estimates))
    alone = msgspec.structs.replace(plan, gpu_indexes=plan.gpu_indexes[:1], device_map=None)
    check_fits(model_id, estimates[alone.dtype], facts, alone)
    return alone


def _cached(reference: ModelReference) -> Path | None:
    """The folder of a hub id that has been fetched before; None without all of it."""
    cached = find_snapshot(reference.repository)
    return cached.path if cached is not None and lacks(cached) is None else None


def _opened_at_random(
    reference: ModelReference,
    folder: Path | None,
    wishes: DeviceWishes,
    facts: TorchFacts,
    *,
    batch: int,
    asked: bool,
) -> OpenedModel:
    spec = reference.spec
    config: Any = load_config(folder) if folder is not None else family_config(spec)
    plan = _one_device(reference.model_id, estimate_memory(config, batch=batch), facts, wishes)
    apply_plan(plan)
    note = "RANDOM WEIGHTS of the model's shape: what it costs is measured, what it says means nothing."
    if not asked:
        note += f" Its own weights are not on this machine; `lithophone pull {spec.id}` fetches them."
    return OpenedModel(
        spec=spec,
        model_id=reference.model_id,
        plan=plan,
        model=random_model(spec, config, plan),
        processor=random_processor(spec, config),
        is_random=True,
        note=note,
    )
