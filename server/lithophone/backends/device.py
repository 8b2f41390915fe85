"""Which device and dtype a model runs on, and why.

Owns the facts about torch and the machine (`TorchFacts`, read by one thin function) and the decision made from them
(`DevicePlan`, pure). Knows no model and loads none. Torch is imported only where the facts are read or the plan is put
into force, because a ROCm build reads some variables while it loads (see `lithophone.backends.rocm`).

Nothing about GPUs in this module has been tested on hardware; it is tested with faked facts.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, get_args

import msgspec
import psutil

from lithophone.backends import rocm
from lithophone.backends.cgroup import affinity_count, read_cgroup_limits, usable_threads
from lithophone.errors import ConfigurationError, DeviceUnavailableError

DeviceRequest: TypeAlias = Literal["auto", "cpu", "cuda", "rocm"]
DtypeRequest: TypeAlias = Literal["auto", "float32", "float16", "bfloat16"]
DeviceKind: TypeAlias = Literal["cpu", "cuda", "rocm"]
DtypeName: TypeAlias = Literal["float32", "float16", "bfloat16"]
Quantization: TypeAlias = Literal["none", "int8"]

DTYPE_BYTES: Mapping[DtypeName, int] = {"float16": 2, "bfloat16": 2, "float32": 4}
NATIVE_BFLOAT16_FEATURES = frozenset({"amx_bf16", "avx512_bf16", "bf16", "sve_bf16"})  # x86, x86, ARM, ARM
NATIVE_FEATURES: Mapping[DtypeName, frozenset[str]] = {
    "bfloat16": NATIVE_BFLOAT16_FEATURES,
    "float16": frozenset({"amx_fp16", "avx512_fp16"}),
}
AMPERE = (8, 0)  # first NVIDIA compute capability with bfloat16 units
GIB = 1 << 30
LEAST_SHARED_PARAMETERS = 20_000_000  # a smaller model's products are not worth sharing; at 4.6 M one thread was 1.3 times as fast as two


class GpuFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU as torch sees it.

    `arch` is an LLVM target (`gfx1151`) on ROCm and `sm_80` on CUDA, where `compute_capability` says the same in
    numbers. `integrated` means that its memory is the system's.
    """

    name: str
    arch: str
    compute_capability: tuple[int, int] | None
    total_bytes: int
    free_bytes: int
    integrated: bool = False

    @property
    def native_bfloat16(self) -> bool:
        """Whether the matrix units take bfloat16, rather than torch emulating it."""
        if self.compute_capability is None:
            return rocm.has_native_bfloat16(self.arch)
        return self.compute_capability >= AMPERE

    @property
    def budget_bytes(self) -> int:
        """Bytes torch can allocate here. Some ROCm wheels report more free than there is in total on unified memory."""
        return min(self.free_bytes, self.total_bytes)


class CpuFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The processor and memory this process may use, control groups and affinity included.

    `features` are the instruction sets of `torch.cpu.get_capabilities()` that are present.
    """

    name: str
    usable_threads: int
    features: frozenset[str]
    total_bytes: int
    available_bytes: int

    @property
    def native_bfloat16(self) -> bool:
        """Whether the processor multiplies bfloat16 matrices itself."""
        return bool(self.features & NATIVE_BFLOAT16_FEATURES)


class TorchFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the installed torch is and what it finds.

    `kernel_archs` are the GPU targets this build has kernels for (`torch.cuda.get_arch_list()`); empty if unknown.
    """

    torch_version: str
    hip_version: str | None
    cuda_version: str | None
    gpus: tuple[GpuFacts, ...]
    cpu: CpuFacts
    kernel_archs: tuple[str, ...] = ()

    @property
    def gpu_kind(self) -> Literal["cuda", "rocm"] | None:
        """The kind of GPU this torch is built for; ROCm calls its devices "cuda" too."""
        if self.hip_version is not None:
            return "rocm"
        return "cuda" if self.cuda_version is not None else None

    @property
    def build(self) -> str:
        """The build in words."""
        names = {
            "rocm": f"built for ROCm (HIP {self.hip_version})",
            "cuda": f"built for CUDA {self.cuda_version}",
        }
        kind = "a CPU build" if self.gpu_kind is None else names[self.gpu_kind]
        return f"torch {self.torch_version} is {kind}"


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
        threads_asked: That number was asked for, so the model's size does not change it.
        widened: The CPU has no instructions for `dtype`: its weights are widened to float32 as they are used.
        quantization: "int8" keeps the language model's linear layers in 8 bits; they still compute in `dtype`.
        compiled: The model's layers go through torch.compile.
        convolution_library: False where MIOpen is known to fail and torch's own kernels have to serve.
        reasons: Why this device and dtype, for the log at start.
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
    threads_asked: bool = False
    widened: bool = False
    quantization: Quantization = "none"
    compiled: bool = False
    convolution_library: bool = True
    reasons: tuple[str, ...] = ()
    environment: tuple[rocm.EnvironmentVariable, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def torch_device(self) -> str:
        """The device string for tensors: `cpu`, or the first GPU used, such as `cuda:0`."""
        return f"cuda:{self.gpu_indexes[0]}" if self.gpu_indexes else "cpu"


def plan_device(
    facts: TorchFacts,
    device: DeviceRequest = "auto",
    dtype: DtypeRequest = "auto",
    *,
    cpu_offload: bool = False,
    quantization: Quantization = "none",
    compiled: bool = False,
    cpu_threads: int = 0,
    environ: Mapping[str, str] | None = None,
) -> DevicePlan:
    """Decide where to run.

    Args:
        facts: What torch and the machine are.
        device: "auto" takes a GPU if this torch can use one.
        dtype: "auto" takes bfloat16 where the hardware computes it natively, else float16 on a GPU, float32 on a CPU.
        cpu_offload: Let layers that do not fit on the GPU stay in system memory.
        quantization: "int8" halves the language model's linear layers or better.
        compiled: Put the model's layers through torch.compile.
        cpu_threads: Threads for torch's CPU kernels; 0 takes as many as may be used and the model's size is worth.
        environ: Environment variables, to advise only what is missing.

    Raises:
        ConfigurationError: a word that is no device or dtype, or options that do not go together.
        DeviceUnavailableError: this torch cannot serve the device; says which wheel to install or what to check.
    """
    _check_choice("device", device, get_args(DeviceRequest))
    _check_choice("dtype", dtype, get_args(DtypeRequest))
    kind, device_reason = _choose_kind(facts, device)
    if kind == "cpu":
        if cpu_offload:
            raise ConfigurationError(
                "CPU offload needs a GPU to offload from, and the model would run on the CPU"
            )
        plan = _cpu_plan(facts, dtype, device_reason)
    else:
        plan = _gpu_plan(facts, kind, dtype, device_reason, cpu_offload=cpu_offload, environ=environ or {})
    if cpu_threads:
        plan = msgspec.structs.replace(plan, cpu_threads=cpu_threads, threads_asked=True)
    return _transformed(plan, quantization, compiled=compiled)


def sized(plan: DevicePlan, parameters: int) -> DevicePlan:
    """The plan for a model of so many parameters: threads that meet after every small product only hold each other up."""
    if plan.kind != "cpu" or plan.threads_asked or parameters >= LEAST_SHARED_PARAMETERS:
        return plan
    return msgspec.structs.replace(plan, cpu_threads=1)


def _transformed(plan: DevicePlan, quantization: Quantization, *, compiled: bool) -> DevicePlan:
    """The plan with layers that are quantised or compiled after loading.

    Raises:
        ConfigurationError: they cannot be.
    """
    _check_choice("quantization", quantization, get_args(Quantization))
    asked = ["--quantization int8"] * (quantization == "int8") + ["--compile"] * compiled
    if len(asked) > 1:
        raise ConfigurationError(f"{' and '.join(asked)} do not go together: choose one")
    if asked and plan.device_map is not None:
        raise ConfigurationError(
            f"{asked[0]} needs the whole model on one device, without --cpu-offload and several GPUs"
        )
    reasons = (*plan.reasons, *(f"{option}, as asked" for option in asked))
    return msgspec.structs.replace(plan, quantization=quantization, compiled=compiled, reasons=reasons)


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


def has_kernels(gpu: GpuFacts, kernel_archs: Sequence[str]) -> bool:
    """Whether a build with these targets can run on the GPU; True if the targets are unknown.

    CUDA: an `sm_` target runs on the same major and a later minor version, a `compute_` target on anything later.
    """
    if not kernel_archs:
        return True
    if gpu.compute_capability is None:
        family = rocm.arch_family(gpu.arch)
        return any(family == rocm.arch_family(arch) or "generic" in arch for arch in kernel_archs)
    return any(_cuda_target_serves(arch, gpu.compute_capability) for arch in kernel_archs)


def _cuda_target_serves(target: str, capability: tuple[int, int]) -> bool:
    prefix, _, digits = target.partition("_")
    number = digits.rstrip("af")  # sm_90a and sm_100f are variants of the same capability
    if not number.isdigit():
        return False
    built = (int(number[:-1]), int(number[-1]))
    return built <= capability and (prefix == "compute" or built[0] == capability[0])


def _usable_gpus(facts: TorchFacts) -> tuple[int, ...]:
    """Indexes of the GPUs to use: those with kernels, and of these the discrete ones if there are any."""
    served = [i for i, gpu in enumerate(facts.gpus) if has_kernels(gpu, facts.kernel_archs)]
    discrete = [i for i in served if not facts.gpus[i].integrated]
    return tuple(discrete or served)


def _cpu_plan(facts: TorchFacts, dtype: DtypeRequest, device_reason: str) -> DevicePlan:
    chosen, dtype_reason = _cpu_dtype(facts.cpu, dtype)
    threads = facts.cpu.usable_threads
    reasons = (device_reason, dtype_reason, f"{threads} CPU thread{'' if threads == 1 else 's'} usable")
    widened = chosen != "float32" and not facts.cpu.features & NATIVE_FEATURES[chosen]
    return DevicePlan(
        device="cpu", kind="cpu", dtype=chosen, cpu_threads=threads, widened=widened, reasons=reasons
    )


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
    dtype: DtypeRequest,
    device_reason: str,
    *,
    cpu_offload: bool,
    environ: Mapping[str, str],
) -> DevicePlan:
    indexes = _usable_gpus(facts)
    gpus = [facts.gpus[i] for i in indexes]
    archs = [gpu.arch for gpu in gpus]
    chosen, dtype_reason = _gpu_dtype(gpus, dtype)
    is_rocm = kind == "rocm"
    unified = any(gpu.integrated for gpu in gpus)
    return DevicePlan(
        device="cuda",
        kind=kind,
        dtype=chosen,
        gpu_indexes=indexes,
        device_map="auto" if cpu_offload or len(indexes) > 1 else None,
        cpu_offload=cpu_offload,
        cpu_threads=facts.cpu.usable_threads,
        convolution_library=not is_rocm or rocm.convolutions_work(archs),
        reasons=(device_reason, dtype_reason, *_placement_reasons(facts, indexes, cpu_offload=cpu_offload)),
        environment=rocm.missing_variables(archs, environ) if is_rocm else (),
        notes=rocm.notes(archs, environ, unified_memory=unified) if is_rocm else (),
    )


def _gpu_dtype(gpus: Sequence[GpuFacts], asked: DtypeRequest) -> tuple[DtypeName, str]:
    emulating = [gpu.arch for gpu in gpus if not gpu.native_bfloat16]
    if asked == "auto":
        if not emulating:
            return "bfloat16", f"bfloat16: native on {_archs(gpus)}, and the published weights are bfloat16"
        return "float16", f"float16: bfloat16 is not native on {', '.join(dict.fromkeys(emulating))}"
    if asked == "bfloat16" and emulating:
        return (
            asked,
            f"bfloat16, as asked: emulated on {', '.join(dict.fromkeys(emulating))}, so it may be slow",
        )
    return asked, f"{asked}, as asked"


def _archs(gpus: Sequence[GpuFacts]) -> str:
    return ", ".join(dict.fromkeys(gpu.arch for gpu in gpus))


def _placement_reasons(facts: TorchFacts, indexes: tuple[int, ...], *, cpu_offload: bool) -> tuple[str, ...]:
    reasons: list[str] = []
    left_out = [gpu.name for i, gpu in enumerate(facts.gpus) if i not in indexes]
    if left_out:
        reasons.append(
            f"not used: {', '.join(left_out)} (integrated beside a discrete GPU, or no kernels for it)"
        )
    if len(indexes) > 1:
        variable = "HIP_VISIBLE_DEVICES" if facts.gpu_kind == "rocm" else "CUDA_VISIBLE_DEVICES"
        reasons.append(
            f"{len(indexes)} GPUs: accelerate spreads the layers over them; {variable}=0 keeps to one"
        )
    if cpu_offload:
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


def apply_plan(plan: DevicePlan) -> None:
    """Put the plan into force in torch: CPU threads for the calling thread, and MIOpen off where it fails.

    Every thread that computes has a team of its own. The model's gets all threads; those that come to it later, for voice
    activity, get one each: teams that wait for each other on the same cores take turns in doing nothing.
    """
    import torch  # noqa: PLC0415 - see the module docstring

    torch.set_num_threads(plan.cpu_threads)
    torch.get_num_threads()  # a thread takes over the last number set by anyone when it first asks; so ask now
    newcomers = threading.Thread(target=torch.set_num_threads, args=(1,))
    newcomers.start()
    newcomers.join()
    if not plan.convolution_library:
        torch.backends.cudnn.enabled = False  # torch's name for MIOpen, too


def read_torch_facts() -> TorchFacts:
    """Ask torch and the system. Initialises the GPU runtime if there is one."""
    import torch  # noqa: PLC0415 - see the module docstring

    cuda: Any = torch.cuda  # only partly typed
    visible: bool = cuda.is_available()
    amd = torch.version.hip is not None
    return TorchFacts(
        torch_version=str(torch.__version__),
        hip_version=torch.version.hip,
        cuda_version=torch.version.cuda,
        gpus=tuple(_read_gpu(cuda, i, amd=amd) for i in range(cuda.device_count())) if visible else (),
        cpu=_read_cpu(torch.cpu.get_capabilities()),
        kernel_archs=tuple(cuda.get_arch_list()) if visible else (),
    )


def _read_gpu(cuda: Any, index: int, *, amd: bool) -> GpuFacts:
    properties = cuda.get_device_properties(index)
    free_bytes, total_bytes = cuda.mem_get_info(index)
    return GpuFacts(
        name=properties.name,
        arch=rocm.arch_family(properties.gcnArchName) if amd else f"sm_{properties.major}{properties.minor}",
        compute_capability=None if amd else (properties.major, properties.minor),
        total_bytes=total_bytes,
        free_bytes=free_bytes,
        integrated=bool(properties.is_integrated),
    )


def _read_cpu(capabilities: Mapping[str, Any]) -> CpuFacts:
    limits = read_cgroup_limits()
    memory = psutil.virtual_memory()
    return CpuFacts(
        name=str(capabilities.get("cpu_name", capabilities.get("architecture", "unknown"))),
        usable_threads=usable_threads(affinity_count(), limits.cpus),
        features=frozenset(name for name, value in capabilities.items() if value is True),
        total_bytes=_smaller(memory.total, limits.memory_limit_bytes),
        available_bytes=_smaller(memory.available, limits.memory_available_bytes),
    )


def _smaller(value: int, limit: int | None) -> int:
    return value if limit is None else min(value, limit)
