"""Which model is measured, with which weights, whether it fits, and the facts a figure means nothing without.

Owns the choice between weights that are on this machine and random ones. Nothing is ever downloaded here but the
configuration of a hub id that is not a member of the family.
"""

from __future__ import annotations

import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
import torch

from lithophone.backends.device.apply import apply_plan
from lithophone.backends.device.facts import TorchFacts
from lithophone.backends.device.plan import DevicePlan, plan_device
from lithophone.backends.device.runtime import peak_resident_bytes
from lithophone.backends.memory.estimate import Estimates, estimate_memory, load_config, size_of
from lithophone.backends.memory.fits import check_fits
from lithophone.backends.quantization.layers import count_weights
from lithophone.backends.quantization.manifest import as_stored
from lithophone.backends.transformers_backend.checkpoint import Checkpoint, ModelReference, read_reference
from lithophone.backends.transformers_backend.loading import load_checkpoint, weight_bytes
from lithophone.bench import BenchOptions
from lithophone.bench.report import MachineFacts, ModelFacts
from lithophone.bench.weights import family_config, random_model, random_processor
from lithophone.granite.family import ModelSpec
from lithophone.hub.cache import find_snapshot, lacks

RANDOM_NOTE = "RANDOM WEIGHTS of the model's shape: what it costs is measured, what it says means nothing."
MISSING_NOTE = "Its own weights are not on this machine; `lithophone pull {}` fetches them."


class OpenedModel(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """A transformers model with its processor, where it is, and where its weights are from."""

    spec: ModelSpec
    model_id: str
    plan: DevicePlan
    model: Any
    processor: Any
    is_random: bool
    notes: tuple[str, ...] = ()

    def facts(self) -> ModelFacts:
        """What was measured, with the most memory that was in use since the process began."""
        plan = self.plan
        return ModelFacts(
            model=self.model_id,
            weights="random" if self.is_random else "checkpoint",
            device=plan.kind,
            dtype=plan.dtype,
            parameters=count_weights(self.model),
            weight_bytes=weight_bytes(self.model),
            options=() if plan.quantization == "none" else (plan.quantization,),
            peak_resident_bytes=peak_resident_bytes(),
            peak_device_bytes=None
            if plan.kind == "cpu"
            else torch.cuda.max_memory_allocated(plan.torch_device),
        )


def open_model(options: BenchOptions, facts: TorchFacts) -> OpenedModel:
    """Load or make the model for batches of up to the largest asked for.

    Raises:
        CheckpointError: the name is no model, or its files cannot be used.
        ConfigurationError: random weights are asked for and the shape is not known.
        DoesNotFitError: it is larger than the memory that is free.
    """
    reference = read_reference(options.model, options.revision)
    spec, model_id = reference.spec, reference.model_id
    folder = reference.path or _cached(reference)
    options = msgspec.structs.replace(options, wishes=as_stored(folder, options.wishes))
    is_random = folder is None or options.random_weights
    config: Any = family_config(spec) if folder is None else load_config(folder)
    sized = config if folder is None or is_random else folder
    plan = _one_device(
        model_id,
        estimate_memory(
            sized, batch=max(options.batches, default=1), quantization=options.wishes.quantization
        ),
        facts,
        options,
    )
    if folder is None or is_random:
        model, processor = random_model(spec, config, plan), random_processor(spec, config)
    else:
        loaded = load_checkpoint(Checkpoint(path=folder, spec=spec, model_id=model_id), plan, facts)
        model, processor = loaded.model, loaded.processor
    notes = (RANDOM_NOTE, MISSING_NOTE.format(spec.id)) if is_random else ()
    return OpenedModel(
        spec=spec,
        model_id=model_id,
        plan=plan,
        model=model,
        processor=processor,
        is_random=is_random,
        notes=notes[:1] if options.random_weights else notes,
    )


def _one_device(model_id: str, estimates: Estimates, facts: TorchFacts, options: BenchOptions) -> DevicePlan:
    """Figures of one device mean something; those of layers spread over several are about the wires between."""
    plan = plan_device(facts, options.wishes, size=size_of(estimates))
    alone = msgspec.structs.replace(plan, gpu_indexes=plan.gpu_indexes[:1], device_map=None)
    check_fits(model_id, estimates[alone.dtype], facts, alone)
    apply_plan(alone)
    return alone


def _cached(reference: ModelReference) -> Path | None:
    """The folder of a hub id that has been fetched before; None without all of it."""
    cached = find_snapshot(reference.repository)
    return cached.path if cached is not None and lacks(cached) is None else None


def machine_facts(facts: TorchFacts, plan: DevicePlan) -> MachineFacts:
    """Of this machine, as this process may use it."""
    return MachineFacts(
        cpu=facts.cpu.name,
        usable_cores=facts.cpu.usable_threads,
        threads=plan.cpu_threads,
        gpus=tuple(facts.gpus[index].name for index in plan.gpu_indexes),
        memory_bytes=facts.cpu.total_bytes,
        torch=facts.torch_version,
        transformers=metadata.version("transformers"),
        lithophone=metadata.version("lithophone"),
        python=platform.python_version(),
        system=platform.platform(terse=True),
    )
