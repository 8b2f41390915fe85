"""What a ROCm build of torch wants from its environment.

Owns the variables and notes for AMD GPUs, and how the GPUs are found before torch is imported. Knows no torch: two of
the variables are read while torch loads, so whoever sets them has to come first.

Untested on hardware. Sources: torch 2.13 (`torch/testing/_internal/common_cuda.py` for the attention kernels,
`ATen/Context.h` and `CUDAHooks.cpp` for hipBLASLt), AMD's page "RDNA3.5 system optimization" for unified memory,
the issues ROCm/MIOpen 3964, ROCm/TheRock 4954 and ROCm/rocm-libraries 4070 for convolutions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path

import msgspec

EXPERIMENTAL_ATTENTION_ARCHS = frozenset({"gfx1101", "gfx1102", "gfx1150", "gfx1151", "gfx1200"})
"""Fused attention exists, but torch 2.13 keeps it behind the variable; without it SDPA falls back to plain maths."""

OPTIONAL_HIPBLASLT_ARCHS = frozenset({"gfx908", "gfx1100", "gfx1101", "gfx1103", "gfx1150", "gfx1151"})
"""hipBLASLt serves these, but torch prefers it by itself only on gfx90a, gfx942, gfx950 and gfx120x."""

BROKEN_CONVOLUTION_ARCHS = frozenset({"gfx1150", "gfx1151", "gfx1152", "gfx1153"})
"""Where MIOpen's convolutions are reported to fail or crash with several ROCm 7 and 10 wheels."""


class EnvironmentVariable(msgspec.Struct, frozen=True):
    """A variable worth setting, its value, and why."""

    name: str
    value: str
    why: str


_ATTENTION = EnvironmentVariable(
    "TORCH_ROCM_AOTRITON_ENABLE_EXPERIMENTAL",
    "1",
    "fused attention is experimental on this GPU; without the variable torch silently uses the slow path",
)
_HIPBLASLT = EnvironmentVariable(
    "TORCH_BLAS_PREFER_HIPBLASLT",
    "1",
    "hipBLASLt is usually the faster matrix library here, and torch does not choose it by itself",
)


def arch_family(gcn_arch_name: str) -> str:
    """The bare target of a name such as `gfx90a:sramecc+:xnack-`."""
    return gcn_arch_name.partition(":")[0]


def arch_from_kfd(gfx_target_version: int) -> str | None:
    """LLVM target of the kernel's number: 110501 is gfx1151, 90010 is gfx90a; None for 0, which marks a CPU node."""
    if gfx_target_version <= 0:
        return None
    major, rest = divmod(gfx_target_version, 10_000)
    minor, stepping = divmod(rest, 100)
    return f"gfx{major}{minor:x}{stepping:x}"


def has_native_bfloat16(gcn_arch_name: str) -> bool:
    """Whether the matrix units take bfloat16: CDNA (gfx908, gfx90a, gfx94x, gfx95x), RDNA3 and later (gfx11xx, gfx12xx)."""
    arch = arch_family(gcn_arch_name).removeprefix("gfx")
    major, rest = arch[:-2], arch[-2:]
    if not major.isdigit():
        return False
    return int(major) >= 11 or (major == "9" and (rest in {"08", "0a"} or rest[0] in "45"))


def missing_variables(archs: Iterable[str], environ: Mapping[str, str]) -> tuple[EnvironmentVariable, ...]:
    """The variables that would help GPUs of these targets and that `environ` does not set to anything."""
    families = {arch_family(arch) for arch in archs}
    wanted = (
        (_ATTENTION, EXPERIMENTAL_ATTENTION_ARCHS),
        (_HIPBLASLT, OPTIONAL_HIPBLASLT_ARCHS),
    )
    return tuple(
        variable for variable, helped in wanted if families & helped and variable.name not in environ
    )


def convolutions_work(archs: Iterable[str]) -> bool:
    """False where MIOpen is known to fail; torch's own convolution kernels are used there instead."""
    return not {arch_family(arch) for arch in archs} & BROKEN_CONVOLUTION_ARCHS


def notes(archs: Sequence[str], environ: Mapping[str, str], *, unified_memory: bool) -> tuple[str, ...]:
    """What cannot be put right by a variable."""
    found: list[str] = []
    if unified_memory:
        found.append(
            "The GPU shares the system's memory. Its budget is what the kernel lets it map (GTT); if that is too "
            "little, raise ttm.pages_limit (AMD's tool amd-ttm does), not the BIOS carve-out."
        )
    if not convolutions_work(archs):
        found.append(
            "MIOpen's convolutions fail on this GPU with several ROCm wheels, so they are switched off "
            "(torch.backends.cudnn.enabled = False) and torch's own kernels used."
        )
    if "HSA_OVERRIDE_GFX_VERSION" in environ:
        found.append(
            "HSA_OVERRIDE_GFX_VERSION is set: the GPU runs kernels built for another one, which may crash or compute "
            "nonsense. Unset it if this torch has kernels for the real GPU."
        )
    return tuple(found)


NO_GPU_VISIBLE_ADVICE = (
    "Check that /dev/kfd and /dev/dri exist and that this user is in their groups (usually render and video; in a "
    "container pass both devices and the host's numeric group ids), that `rocminfo` lists the GPU, and that "
    "HIP_VISIBLE_DEVICES and ROCR_VISIBLE_DEVICES do not hide it. HSA_OVERRIDE_GFX_VERSION cannot make a hidden GPU "
    "visible."
)


def startup_environment(
    torch_version: str, archs: Iterable[str], environ: Mapping[str, str]
) -> dict[str, str]:
    """Variables to set before torch is imported; empty unless this torch is a ROCm build.

    The build matters: TORCH_BLAS_PREFER_HIPBLASLT is an alias of the cuBLASLt switch and would change a CUDA build too.
    """
    if "rocm" not in torch_version:
        return {}
    return {variable.name: variable.value for variable in missing_variables(archs, environ)}


def read_startup_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """`startup_environment` of the installed torch and of the GPUs the kernel lists. Does not import torch."""
    return startup_environment(metadata.version("torch"), read_kfd_archs(), environ)


def read_kfd_archs(topology: Path = Path("/sys/class/kfd/kfd/topology/nodes")) -> tuple[str, ...]:
    """Targets of the GPUs the amdgpu driver offers for computing, such as `("gfx1151",)`; empty without the driver."""
    texts = (_read(path) for path in sorted(topology.glob("*/properties")))
    return tuple(arch for text in texts if (arch := _arch_of_node(text)) is not None)


def _arch_of_node(properties: str) -> str | None:
    fields = dict(line.split(" ", 1) for line in properties.splitlines() if " " in line)
    return arch_from_kfd(int(fields.get("gfx_target_version", "0")))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""
