"""What the installed torch is, and what machine it finds.

Owns the facts (`TorchFacts`), the few questions they answer by themselves, and the one function that reads them. Decides
nothing. Torch is imported only where it is asked, because a ROCm build reads some variables while it loads (see
`lithophone.backends.rocm`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import msgspec
import psutil

from lithophone.backends import rocm
from lithophone.backends.cgroup import affinity_count, read_cgroup_limits, usable_threads

DeviceKind: TypeAlias = Literal["cpu", "cuda", "rocm"]
DtypeName: TypeAlias = Literal["float32", "float16", "bfloat16"]

DTYPE_BYTES: Mapping[DtypeName, int] = {"float16": 2, "bfloat16": 2, "float32": 4}
NATIVE_BFLOAT16_FEATURES = frozenset({"amx_bf16", "avx512_bf16", "bf16", "sve_bf16"})  # x86, x86, ARM, ARM
NATIVE_FEATURES: Mapping[DtypeName, frozenset[str]] = {
    "bfloat16": NATIVE_BFLOAT16_FEATURES,
    "float16": frozenset({"amx_fp16", "avx512_fp16"}),
}
AMPERE = (8, 0)  # first NVIDIA compute capability with bfloat16 units


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
    `room_bytes` is what a model may take of the memory that is free; None for all of it.
    """

    torch_version: str
    hip_version: str | None
    cuda_version: str | None
    gpus: tuple[GpuFacts, ...]
    cpu: CpuFacts
    kernel_archs: tuple[str, ...] = ()
    room_bytes: int | None = None

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
