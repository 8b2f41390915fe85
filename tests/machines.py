"""Machines no test runs on, as torch would describe them."""

from __future__ import annotations

from msgspec.structs import replace

from lithophone.backends.device.facts import CpuFacts, GpuFacts, TorchFacts

GB = 1_000_000_000


def cpu(*features: str, available_bytes: int = 24 * GB, threads: int = 8) -> CpuFacts:
    return CpuFacts(
        name="a CPU",
        usable_threads=threads,
        features=frozenset(features),
        total_bytes=32 * GB,
        available_bytes=available_bytes,
    )


def nvidia(name: str, capability: tuple[int, int], total_bytes: int) -> GpuFacts:
    return GpuFacts(
        name=name,
        arch=f"sm_{capability[0]}{capability[1]}",
        compute_capability=capability,
        total_bytes=total_bytes,
        free_bytes=total_bytes,
    )


def amd(name: str, arch: str, total_bytes: int, *, integrated: bool = False) -> GpuFacts:
    return GpuFacts(
        name=name,
        arch=arch,
        compute_capability=None,
        total_bytes=total_bytes,
        free_bytes=total_bytes,
        integrated=integrated,
    )


A100 = nvidia("A100", (8, 0), 80 * GB)
T4 = nvidia("T4", (7, 5), 16 * GB)
RTX_4090 = nvidia("RTX 4090", (8, 9), 24 * GB)
MI300 = amd("MI300X", "gfx942", 192 * GB)
RX_7900 = amd("RX 7900 XTX", "gfx1100", 24 * GB)
RX_6900 = amd("RX 6900 XT", "gfx1030", 16 * GB)
RYZEN_GRAPHICS = amd("Ryzen graphics", "gfx1036", 8 * GB, integrated=True)
# A published reading of a 128 GB machine: more free than there is in total.
STRIX_HALO = replace(amd("Radeon 8060S", "gfx1151", 67 * GB, integrated=True), free_bytes=128 * GB)

CPU_BUILD = TorchFacts(
    torch_version="2.13.0+cpu", hip_version=None, cuda_version=None, gpus=(), cpu=cpu("avx2", "avx512_f")
)


def cuda_build(*gpus: GpuFacts, kernel_archs: tuple[str, ...] = ()) -> TorchFacts:
    return replace(
        CPU_BUILD, torch_version="2.13.0+cu130", cuda_version="13.0", gpus=gpus, kernel_archs=kernel_archs
    )


def rocm_build(*gpus: GpuFacts, kernel_archs: tuple[str, ...] = ()) -> TorchFacts:
    return replace(
        CPU_BUILD, torch_version="2.13.0+rocm7.1", hip_version="7.1.5", gpus=gpus, kernel_archs=kernel_archs
    )
