"""The facts of machine and model that a figure means nothing without."""

from __future__ import annotations

import platform
from importlib import metadata

import torch

from lithophone.backends.device.facts import TorchFacts
from lithophone.backends.device.plan import DevicePlan
from lithophone.backends.device.runtime import peak_resident_bytes
from lithophone.backends.transformers_backend.loading import weight_bytes
from lithophone.bench.opening import OpenedModel
from lithophone.bench.report import MachineFacts, MemoryFacts, ModelFacts


def machine_facts(facts: TorchFacts, plan: DevicePlan) -> MachineFacts:
    """Of this machine, as this process may use it."""
    return MachineFacts(
        cpu=_processor_name() or facts.cpu.name,
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


def _processor_name() -> str | None:
    """The processor's own name, where Linux tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123 - one line of a special file
            return next(
                (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), None
            )
    except OSError:
        return platform.processor() or None


def model_facts(opened: OpenedModel, plan: DevicePlan) -> ModelFacts:
    """Of the model that was measured."""
    return ModelFacts(
        model=opened.model_id,
        weights="random" if opened.is_random else "checkpoint",
        device=plan.kind,
        dtype=plan.dtype,
        parameters=opened.parameters,
        weight_bytes=weight_bytes(opened.model),
        options=("int8",) if plan.quantization == "int8" else (),
    )


def memory_facts(plan: DevicePlan) -> MemoryFacts:
    """The most that was in use since the process began."""
    return MemoryFacts(
        peak_resident_bytes=peak_resident_bytes(),
        peak_device_bytes=None if plan.kind == "cpu" else torch.cuda.max_memory_allocated(plan.torch_device),
    )
