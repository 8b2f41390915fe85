"""Which device and dtype a model runs on, and why.

Owns the decision: `plan_device` makes a `DevicePlan` of facts and wishes, before the model is known or for a model of known
size. Pure: knows no model and imports no torch.

Nothing about GPUs in this module has been tested on hardware; it is tested with faked facts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias, get_args

import msgspec

from lithophone.backends import rocm
from lithophone.backends.device.facts import (
    NATIVE_BFLOAT16_FEATURES,
    NATIVE_FEATURES,
    CpuFacts,
    DeviceKind,
    DtypeName,
    GpuFacts,
    TorchFacts,
    has_kernels,
)
from lithophone.errors import ConfigurationError, DeviceUnavailableError

DeviceRequest: TypeAlias = Literal["auto", "cpu", "cuda", "rocm"]
DtypeRequest: TypeAlias = Literal["auto", "float32", "float16", "bfloat16"]
Quantization: TypeAlias = Literal["none", "int8", "int4"]
GraphsRequest: TypeAlias = Literal["auto", "off"]

LEAST_SHARED_PARAMETERS = 20_000_000
"""A smaller model's products are not worth sharing among threads; at 4.6 M one thread was 1.3 times as fast as two."""


class DeviceWishes(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for.

    Attributes:
        device: "auto" takes a GPU if this torch can use one.
        dtype: "auto" takes bfloat16 where the hardware computes it natively, else float16 on a GPU, float32 on a CPU.
        cpu_offload: Let layers that do not fit on the GPU stay in system memory.
        quantization: "int8" keeps linear layers in 8 bits, "int4" those of the language model in 4; on CPUs.
        graphs: "auto" captures the decoding steps of a GPU as graphs.
        cpu_threads: Threads for torch's CPU kernels; 0 takes as many as may be used and the model's size is worth.
        max_batch: Windows at a time; 0 takes as many as memory holds.
    """

    device: DeviceRequest = "auto"
    dtype: DtypeRequest = "auto"
    cpu_offload: bool = False
    quantization: Quantization = "none"
    graphs: GraphsRequest = "auto"
    cpu_threads: int = 0
    max_batch: int = 0


class ModelSize(msgspec.Struct, frozen=True, kw_only=True):
    """How large a model is: its parameters, and the bytes it takes in each dtype."""

    parameters: int
    required_bytes: Mapping[DtypeName, int]


class DevicePlan(msgspec.Struct, frozen=True, kw_only=True):
    """Where the model goes and in which dtype.

    Attributes:
        device: torch's device type; ROCm is "cuda" to torch.
        kind: What the device really is.
        dtype: Name of the torch dtype of the weights.
        gpu_indexes: torch indexes of the GPUs used; empty on the CPU.
        device_map: "auto" where accelerate has to place the layers (several GPUs, or CPU offload).
        cpu_offload: Layers that do not fit on the GPU may stay in system memory.
        cpu_threads: Threads for torch's CPU kernels.
        widened: The CPU has no instructions for `dtype`: its weights are widened to float32 as they are used.
        quantization: As wished for; what lies between the layers is in `dtype`.
        max_batch: Windows at a time; 0 takes as many as memory holds.
        graphs: Decoding steps are captured as graphs, where the GPU's decoder serves.
        convolution_library: False where MIOpen is known to fail and torch's own kernels have to serve.
        reasons: Why this device and dtype, for the log at start.
        dtype_on_trial: The dtype is kept only if real speech comes out finite in it.
        environment: Variables that are missing and would help.
        notes: What else the person should know.
    """

    device: Literal["cpu", "cuda"]
    kind: DeviceKind
    dtype: DtypeName
    gpu_indexes: tuple[int, ...] = ()
    device_map: Literal["auto"] | None = None
    cpu_offload: bool = False
    cpu_threads: int = 1
    widened: bool = False
    quantization: Quantization = "none"
    max_batch: int = 0
    graphs: bool = False
    convolution_library: bool = True
    dtype_on_trial: bool = False
    reasons: tuple[str, ...] = ()
    environment: tuple[rocm.EnvironmentVariable, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def torch_device(self) -> str:
        """The device string for tensors: `cpu`, or the first GPU used, such as `cuda:0`."""
        return f"cuda:{self.gpu_indexes[0]}" if self.gpu_indexes else "cpu"


def plan_device(
    facts: TorchFacts,
    wishes: DeviceWishes | None = None,
    *,
    size: ModelSize | None = None,
    environ: Mapping[str, str] | None = None,
    overflow: str = "",
) -> DevicePlan:
    """Decide where to run.

    Args:
        facts: What torch and the machine are.
        wishes: What was asked for.
        size: Of the model, once it is known: a large one may need several GPUs, a tiny one is worth one thread.
        environ: Environment variables, to advise only what is missing.
        overflow: What was seen of this model in float16, if that does not serve it.

    Raises:
        ConfigurationError: a word that is no device or dtype, or options that do not go together.
        DeviceUnavailableError: this torch cannot serve the device; says which wheel to install or what to check.
    """
    wishes = wishes or DeviceWishes()
    _check_choice("device", wishes.device, get_args(DeviceRequest))
    _check_choice("dtype", wishes.dtype, get_args(DtypeRequest))
    _check_choice("quantization", wishes.quantization, get_args(Quantization))
    _check_choice("graphs", wishes.graphs, get_args(GraphsRequest))
    kind, device_reason = _choose_kind(facts, wishes.device)
    if kind == "cpu":
        plan = _cpu_plan(facts, wishes, size)
    else:
        plan = _gpu_plan(facts, kind, wishes, size, environ or {}, overflow=overflow)
    reasons = (device_reason, *plan.reasons)
    plan = msgspec.structs.replace(plan, reasons=reasons, max_batch=wishes.max_batch)
    return _quantised(plan, wishes.quantization)


def _quantised(plan: DevicePlan, quantization: Quantization) -> DevicePlan:
    """The plan with layers that are quantised as they are loaded.

    Raises:
        ConfigurationError: they cannot be.
    """
    if quantization == "none":
        return plan
    option = f"--quantization {quantization}"
    if plan.kind != "cpu":
        raise ConfigurationError(
            f"{option} serves CPUs alone: it multiplies by their 8-bit instructions, and a GPU would only be slower. Use "
            "--device cpu, or leave it out"
        )
    return msgspec.structs.replace(
        plan, quantization=quantization, reasons=(*plan.reasons, f"{option}, as asked")
    )


def _check_choice(what: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ConfigurationError(f"{what} is {value!r}, but has to be one of {', '.join(choices)}")


def _choose_kind(facts: TorchFacts, device: DeviceRequest) -> tuple[DeviceKind, str]:
    if device == "cpu":
        return "cpu", "CPU, as asked"
    if device == "auto":
        return _choose_automatically(facts)
    _require_build(facts, device)
    if not facts.gpus:
        raise DeviceUnavailableError(f"{facts.build}, but it sees no GPU. {_NO_GPU_ADVICE[device]}")
    if not _usable_gpus(facts):
        raise DeviceUnavailableError(_no_kernels(facts))
    return device, f"{_NAMES[device]}, as asked: {_gpu_names(facts)}"


def _choose_automatically(facts: TorchFacts) -> tuple[DeviceKind, str]:
    kind = facts.gpu_kind
    if kind is None:
        return "cpu", f"CPU: {facts.build}"
    if not facts.gpus:
        return "cpu", f"CPU: {facts.build}, but it sees no GPU"
    if not _usable_gpus(facts):
        return "cpu", f"CPU: {_no_kernels(facts)}"
    return kind, f"{_NAMES[kind]}: {facts.build} and sees {_gpu_names(facts)}"


_NAMES = {"cuda": "CUDA", "rocm": "ROCm"}
_GET_STARTED = 'the "Get started" page of PyTorch has the command'
_WHEELS = {
    "cuda": f"Install PyTorch's CUDA wheel (its version ends in +cu and digits, such as +cu130): {_GET_STARTED}.",
    "rocm": f"Install PyTorch's ROCm wheel (its version ends in +rocm6.4 or +rocm7.x): {_GET_STARTED}.",
}
_NO_GPU_ADVICE = {
    "cuda": (
        "Check that `nvidia-smi` lists the GPU, that the driver is new enough for this CUDA version, that "
        "CUDA_VISIBLE_DEVICES does not hide it, and that a container was given the GPUs."
    ),
    "rocm": rocm.NO_GPU_VISIBLE_ADVICE,
}


def _require_build(facts: TorchFacts, device: Literal["cuda", "rocm"]) -> None:
    if facts.gpu_kind == device:
        return
    other = facts.gpu_kind
    hint = f" To use this build, ask for --device {other}." if other is not None else ""
    raise DeviceUnavailableError(
        f"{facts.build} and cannot use {_NAMES[device]}. {_WHEELS[device]}{hint} "
        "The CPU wheel (+cpu) serves --device cpu only."
    )


def _no_kernels(facts: TorchFacts) -> str:
    return (
        f"{facts.build}, but has no kernels for {_gpu_names(facts)}; it has them for {', '.join(facts.kernel_archs)}. "
        f"Another wheel may have them: {_GET_STARTED}"
    )


def _gpu_names(facts: TorchFacts) -> str:
    return ", ".join(f"{gpu.name} ({gpu.arch})" for gpu in facts.gpus)


def _usable_gpus(facts: TorchFacts) -> tuple[int, ...]:
    """Indexes of the GPUs to use: those with kernels, and of these the discrete ones if there are any."""
    served = [i for i, gpu in enumerate(facts.gpus) if has_kernels(gpu, facts.kernel_archs)]
    discrete = [i for i in served if not facts.gpus[i].integrated]
    return tuple(discrete or served)


def _cpu_plan(facts: TorchFacts, wishes: DeviceWishes, size: ModelSize | None) -> DevicePlan:
    if wishes.cpu_offload:
        raise ConfigurationError(
            "CPU offload needs a GPU to offload from, and the model would run on the CPU"
        )
    chosen, dtype_reason = _cpu_dtype(facts.cpu, wishes.dtype)
    threads, threads_reason = _cpu_threads(facts.cpu, wishes, size)
    return DevicePlan(
        device="cpu",
        kind="cpu",
        dtype=chosen,
        cpu_threads=threads,
        widened=chosen != "float32" and not facts.cpu.features & NATIVE_FEATURES[chosen],
        reasons=(dtype_reason, threads_reason),
    )


def _cpu_threads(cpu: CpuFacts, wishes: DeviceWishes, size: ModelSize | None) -> tuple[int, str]:
    """Threads that meet after every small product only hold each other up."""
    if wishes.cpu_threads:
        return wishes.cpu_threads, f"{_threads(wishes.cpu_threads)}, as asked"
    if size is not None and size.parameters < LEAST_SHARED_PARAMETERS:
        return 1, f"1 CPU thread: the model is too small to share among {cpu.usable_threads}"
    return cpu.usable_threads, f"{_threads(cpu.usable_threads)} usable"


def _threads(count: int) -> str:
    return f"{count} CPU thread{'' if count == 1 else 's'}"


def _cpu_dtype(cpu: CpuFacts, asked: DtypeRequest) -> tuple[DtypeName, str]:
    native = ", ".join(sorted(cpu.features & NATIVE_BFLOAT16_FEATURES))
    if asked == "auto":
        if native:
            return "bfloat16", f"bfloat16: this CPU computes it natively ({native})"
        return "float32", "float32: this CPU has no native bfloat16 (no AMX or AVX512-BF16)"
    if asked == "float32" or cpu.features & NATIVE_FEATURES[asked]:
        return asked, f"{asked}, as asked"
    return asked, (
        f"{asked}, as asked: half the memory of float32; this CPU does not compute it natively, so weights are "
        "widened to float32 as they are used"
    )


def _gpu_plan(
    facts: TorchFacts,
    kind: Literal["cuda", "rocm"],
    wishes: DeviceWishes,
    size: ModelSize | None,
    environ: Mapping[str, str],
    *,
    overflow: str,
) -> DevicePlan:
    indexes = _fewest_gpus(facts, wishes, size, overflow)
    gpus = [facts.gpus[i] for i in indexes]
    archs = [gpu.arch for gpu in gpus]
    chosen, dtype_reason = _gpu_dtype(gpus, wishes.dtype, overflow)
    is_rocm = kind == "rocm"
    unified = any(gpu.integrated for gpu in gpus)
    return DevicePlan(
        device="cuda",
        kind=kind,
        dtype=chosen,
        gpu_indexes=indexes,
        device_map="auto" if wishes.cpu_offload or len(indexes) > 1 else None,
        cpu_offload=wishes.cpu_offload,
        cpu_threads=wishes.cpu_threads or facts.cpu.usable_threads,
        graphs=wishes.graphs == "auto",
        convolution_library=not is_rocm or rocm.convolutions_work(archs),
        dtype_on_trial=wishes.dtype == "auto" and chosen == "float16",
        reasons=(dtype_reason, *_placement_reasons(facts, indexes, wishes)),
        environment=rocm.missing_variables(archs, environ) if is_rocm else (),
        notes=rocm.notes(archs, environ, unified_memory=unified) if is_rocm else (),
    )


def _fewest_gpus(
    facts: TorchFacts, wishes: DeviceWishes, size: ModelSize | None, overflow: str
) -> tuple[int, ...]:
    """The GPU with the most room, and only if the model does not fit there the next ones as well.

    Layers that are spread run one after another all the same, and pay for every change of GPU.
    """
    by_room = sorted(_usable_gpus(facts), key=lambda i: -facts.gpus[i].budget_bytes)
    if size is None:
        return tuple(by_room[:1])
    for count in range(1, len(by_room)):
        gpus = [facts.gpus[i] for i in by_room[:count]]
        dtype, _ = _gpu_dtype(gpus, wishes.dtype, overflow)
        if size.required_bytes[dtype] <= sum(gpu.budget_bytes for gpu in gpus):
            return tuple(by_room[:count])
    return tuple(by_room)


def _gpu_dtype(gpus: Sequence[GpuFacts], asked: DtypeRequest, overflow: str) -> tuple[DtypeName, str]:
    emulating = ", ".join(dict.fromkeys(gpu.arch for gpu in gpus if not gpu.native_bfloat16))
    if asked == "auto":
        return _gpu_dtype_by_itself(gpus, emulating, overflow)
    if asked == "bfloat16" and emulating:
        return asked, f"bfloat16, as asked: emulated on {emulating}, so it may be slow"
    return asked, f"{asked}, as asked"


def _gpu_dtype_by_itself(gpus: Sequence[GpuFacts], emulating: str, overflow: str) -> tuple[DtypeName, str]:
    """float16 has the range for these models as far as anybody knows, but nobody has published figures of it in torch."""
    if not emulating:
        return "bfloat16", f"bfloat16: native on {_archs(gpus)}, and the published weights are bfloat16"
    if overflow:
        return "float32", f"float32: bfloat16 is not native on {emulating}, and in float16 {overflow}"
    return (
        "float16",
        f"float16: bfloat16 is not native on {emulating}; tried on real speech before it is kept",
    )


def _archs(gpus: Sequence[GpuFacts]) -> str:
    return ", ".join(dict.fromkeys(gpu.arch for gpu in gpus))


def _placement_reasons(facts: TorchFacts, indexes: tuple[int, ...], wishes: DeviceWishes) -> tuple[str, ...]:
    reasons: list[str] = []
    usable = _usable_gpus(facts)
    names = {i: gpu.name for i, gpu in enumerate(facts.gpus)}
    if unusable := [name for i, name in names.items() if i not in usable]:
        reasons.append(
            f"not used: {', '.join(unusable)} (integrated beside a discrete GPU, or no kernels for it)"
        )
    if spare := [name for i, name in names.items() if i in usable and i not in indexes]:
        reasons.append(f"not needed: {', '.join(spare)}; one GPU is faster than layers spread over several")
    if len(indexes) > 1:
        reasons.append(
            f"{len(indexes)} GPUs: the model fits on none alone, so its layers are spread over them"
        )
    if wishes.cpu_offload:
        reasons.append(
            "CPU offload, as asked: layers that do not fit on the GPU stay in system memory and are slow"
        )
    return tuple(reasons)


def device_map_memory(facts: TorchFacts, plan: DevicePlan) -> dict[int | str, int]:
    """The `max_memory` argument that goes with `device_map="auto"`: bytes by GPU index, and by "cpu" with offload."""
    memory: dict[int | str, int] = {i: facts.gpus[i].budget_bytes for i in plan.gpu_indexes}
    if plan.cpu_offload:
        memory["cpu"] = facts.cpu.available_bytes
    return memory
