from __future__ import annotations

import subprocess
import sys
import threading

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from lithophone.backends.device.apply import apply_plan
from lithophone.backends.device.facts import (
    DTYPE_BYTES,
    GpuFacts,
    TorchFacts,
    has_kernels,
    read_torch_facts,
)
from lithophone.backends.device.plan import (
    DeviceRequest,
    DeviceWishes,
    DtypeRequest,
    ModelSize,
    device_map_memory,
    plan_device,
)
from lithophone.errors import ConfigurationError, DeviceUnavailableError, StartupError
from tests.machines import (
    A100,
    CPU_BUILD,
    GB,
    MI300,
    RTX_4090,
    RX_6900,
    RX_7900,
    RYZEN_GRAPHICS,
    STRIX_HALO,
    T4,
    cpu,
    cuda_build,
    rocm_build,
)


def test_a_plain_cpu_computes_in_float32_and_says_why() -> None:
    plan = plan_device(CPU_BUILD)
    assert (plan.device, plan.kind, plan.dtype, plan.torch_device) == ("cpu", "cpu", "float32", "cpu")
    assert "CPU build" in plan.reasons[0]
    assert "no native bfloat16" in plan.reasons[1]
    assert plan.cpu_threads == 8


@pytest.mark.parametrize("feature", ["amx_bf16", "avx512_bf16", "sve_bf16"])
def test_a_cpu_with_bfloat16_units_uses_them(feature: str) -> None:
    plan = plan_device(replace(CPU_BUILD, cpu=cpu("avx2", feature)))
    assert plan.dtype == "bfloat16"
    assert feature in plan.reasons[1]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_half_dtype_on_a_plain_cpu_is_honoured_with_a_warning(dtype: DtypeRequest) -> None:
    plan = plan_device(CPU_BUILD, DeviceWishes(device="cpu", dtype=dtype))
    assert plan.dtype == dtype
    assert "does not compute it natively" in plan.reasons[1]
    assert plan.widened


@pytest.mark.parametrize(
    ("facts", "kind", "dtype"),
    [
        (cuda_build(A100), "cuda", "bfloat16"),
        (cuda_build(RTX_4090), "cuda", "bfloat16"),
        (cuda_build(T4), "cuda", "float16"),
        (rocm_build(MI300), "rocm", "bfloat16"),
        (rocm_build(RX_7900), "rocm", "bfloat16"),
        (rocm_build(STRIX_HALO), "rocm", "bfloat16"),
        (rocm_build(RX_6900), "rocm", "float16"),
        (cuda_build(T4, A100), "cuda", "bfloat16"),
    ],
    ids=["A100", "RTX 4090", "T4", "MI300", "RX 7900", "Strix Halo", "RX 6900", "T4 and A100"],
)
def test_auto_takes_the_gpu_and_its_native_dtype(facts: TorchFacts, kind: str, dtype: str) -> None:
    plan = plan_device(facts)
    assert (plan.device, plan.kind, plan.dtype) == ("cuda", kind, dtype)
    assert facts.gpus[plan.gpu_indexes[0]].budget_bytes == max(gpu.budget_bytes for gpu in facts.gpus)


def test_the_reason_for_float16_names_the_gpu_that_lacks_bfloat16() -> None:
    plan = plan_device(cuda_build(A100, T4), size=sized(90 * GB))
    assert plan.dtype == "float16"
    assert "not native on sm_75" in plan.reasons[1]


def test_emulated_bfloat16_is_honoured_with_a_warning() -> None:
    plan = plan_device(cuda_build(T4), DeviceWishes(device="cuda", dtype="bfloat16"))
    assert plan.dtype == "bfloat16"
    assert "emulated on sm_75" in plan.reasons[1]


def test_the_cpu_can_be_asked_for_beside_a_gpu() -> None:
    assert plan_device(cuda_build(A100), DeviceWishes(device="cpu")).torch_device == "cpu"


@pytest.mark.parametrize(
    ("facts", "device", "said"),
    [
        (CPU_BUILD, "cuda", ["is a CPU build", "CUDA wheel", "+cu130", "Get started"]),
        (CPU_BUILD, "rocm", ["is a CPU build", "ROCm wheel", "+rocm", "Get started"]),
        (cuda_build(A100), "rocm", ["built for CUDA 13.0", "ROCm wheel", "--device cuda"]),
        (rocm_build(MI300), "cuda", ["built for ROCm", "CUDA wheel", "--device rocm"]),
        (cuda_build(), "cuda", ["sees no GPU", "nvidia-smi"]),
        (
            rocm_build(),
            "rocm",
            ["sees no GPU", "/dev/kfd", "/dev/dri", "render", "video", "HSA_OVERRIDE_GFX_VERSION"],
        ),
    ],
)
def test_a_device_this_torch_cannot_serve_is_refused_with_the_remedy(
    facts: TorchFacts, device: DeviceRequest, said: list[str]
) -> None:
    with pytest.raises(DeviceUnavailableError) as refused:
        plan_device(facts, DeviceWishes(device=device))
    assert [words for words in said if words not in refused.value.message] == []
    assert "://" not in refused.value.message


def test_a_gpu_that_is_not_seen_is_not_blamed_on_the_wheel() -> None:
    with pytest.raises(DeviceUnavailableError) as refused:
        plan_device(rocm_build(), DeviceWishes(device="rocm"))
    assert "Install PyTorch" not in refused.value.message


@pytest.mark.parametrize("facts", [cuda_build(), rocm_build()])
def test_auto_falls_back_to_the_cpu_without_a_gpu(facts: TorchFacts) -> None:
    plan = plan_device(facts)
    assert plan.kind == "cpu"
    assert "sees no GPU" in plan.reasons[0]


def test_a_gpu_without_kernels_in_this_build_is_refused_and_auto_takes_the_cpu() -> None:
    facts = rocm_build(STRIX_HALO, kernel_archs=("gfx90a", "gfx1100"))
    with pytest.raises(DeviceUnavailableError, match="no kernels for Radeon 8060S"):
        plan_device(facts, DeviceWishes(device="rocm"))
    assert plan_device(facts).kind == "cpu"


@pytest.mark.parametrize(
    ("gpu", "kernel_archs", "served"),
    [
        (RTX_4090, ("sm_80",), True),
        (RTX_4090, ("sm_90a",), False),
        (A100, ("sm_86",), False),
        (A100, ("sm_75", "compute_75"), True),
        (T4, ("sm_80", "compute_80"), False),
        (RX_7900, ("gfx11-generic",), True),
        (MI300, ("gfx942:sramecc+:xnack-",), True),
        (MI300, ("gfx90a",), False),
        (T4, (), True),
    ],
)
def test_kernels_run_where_the_target_allows(
    gpu: GpuFacts, kernel_archs: tuple[str, ...], served: bool
) -> None:
    assert has_kernels(gpu, kernel_archs) is served


def sized(required_bytes: int, *, parameters: int = 2_000_000_000) -> ModelSize:
    return ModelSize(parameters=parameters, required_bytes=dict.fromkeys(DTYPE_BYTES, required_bytes))


@pytest.mark.parametrize("size", [None, sized(70 * GB)], ids=["size unknown", "fits on one"])
def test_one_gpu_is_enough_where_the_model_fits_on_it(size: ModelSize | None) -> None:
    plan = plan_device(cuda_build(T4, A100, T4), size=size)
    assert (plan.device_map, plan.gpu_indexes, plan.torch_device) == (None, (1,), "cuda:1")
    assert any("not needed: T4, T4" in reason for reason in plan.reasons)


def test_several_gpus_are_left_to_accelerate_where_one_cannot_hold_the_model() -> None:
    facts = cuda_build(T4, A100, RTX_4090)
    plan = plan_device(facts, size=sized(100 * GB))
    assert (plan.device_map, plan.gpu_indexes) == ("auto", (1, 2))
    assert device_map_memory(facts, plan) == {1: 80 * GB, 2: 24 * GB}
    assert any("2 GPUs" in reason for reason in plan.reasons)


def test_all_gpus_are_planned_for_where_even_they_cannot_hold_the_model() -> None:
    assert plan_device(cuda_build(T4, T4), size=sized(100 * GB)).gpu_indexes == (0, 1)


@given(
    st.lists(st.sampled_from([T4, RTX_4090, A100]), min_size=1, max_size=5),
    st.integers(1, 200),
)
def test_no_gpu_is_taken_that_is_not_needed(gpus: list[GpuFacts], gigabytes: int) -> None:
    plan = plan_device(cuda_build(*gpus), size=sized(gigabytes * GB))
    room = [gpus[index].budget_bytes for index in plan.gpu_indexes]
    assert sum(room[:-1]) < gigabytes * GB
    assert sum(room) >= gigabytes * GB or len(room) == len(gpus)
    assert (plan.device_map is None) == (len(room) == 1)


def test_the_graphics_of_the_processor_are_left_out_beside_a_real_gpu() -> None:
    plan = plan_device(rocm_build(RYZEN_GRAPHICS, RX_7900))
    assert (plan.torch_device, plan.device_map, plan.dtype) == ("cuda:1", None, "bfloat16")
    assert any("not used: Ryzen graphics" in reason for reason in plan.reasons)


def test_cpu_offload_gives_accelerate_the_system_memory_too() -> None:
    facts = cuda_build(T4)
    plan = plan_device(facts, DeviceWishes(cpu_offload=True))
    assert plan.device_map == "auto"
    assert device_map_memory(facts, plan) == {0: 16 * GB, "cpu": 24 * GB}


def test_cpu_offload_without_a_gpu_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="offload"):
        plan_device(CPU_BUILD, DeviceWishes(cpu_offload=True))


@pytest.mark.parametrize(("device", "dtype"), [("gpu", "auto"), ("auto", "int8")])
def test_words_that_are_no_device_or_dtype_are_refused(device: DeviceRequest, dtype: DtypeRequest) -> None:
    with pytest.raises(ConfigurationError, match="has to be one of auto, "):
        plan_device(CPU_BUILD, DeviceWishes(device=device, dtype=dtype))


def test_strix_halo_is_advised_and_its_convolutions_avoid_miopen() -> None:
    plan = plan_device(
        rocm_build(STRIX_HALO),
        DeviceWishes(device="rocm"),
        environ={"TORCH_BLAS_PREFER_HIPBLASLT": "0"},
    )
    assert [variable.name for variable in plan.environment] == ["TORCH_ROCM_AOTRITON_ENABLE_EXPERIMENTAL"]
    assert not plan.convolution_library
    assert any("GTT" in note for note in plan.notes)


@pytest.mark.parametrize("facts", [rocm_build(MI300), cuda_build(A100), CPU_BUILD])
def test_machines_that_need_no_advice_get_none(facts: TorchFacts) -> None:
    plan = plan_device(facts)
    assert (plan.environment, plan.notes, plan.convolution_library) == ((), (), True)


def test_a_gpu_never_offers_more_than_it_has() -> None:
    assert STRIX_HALO.budget_bytes == 67 * GB


GPU_SETS = st.lists(st.sampled_from([A100, T4, RTX_4090]), max_size=3).map(
    lambda gpus: cuda_build(*gpus)
) | st.lists(st.sampled_from([MI300, STRIX_HALO, RX_6900, RYZEN_GRAPHICS]), max_size=3).map(
    lambda gpus: rocm_build(*gpus)
)


@given(
    facts=GPU_SETS | st.just(CPU_BUILD),
    device=st.sampled_from(["auto", "cpu", "cuda", "rocm"]),
    dtype=st.sampled_from(["auto", "float32", "float16", "bfloat16"]),
)
def test_every_plan_is_whole_and_keeps_to_what_was_asked(
    facts: TorchFacts, device: DeviceRequest, dtype: DtypeRequest
) -> None:
    try:
        plan = plan_device(facts, DeviceWishes(device=device, dtype=dtype))
    except StartupError:
        assert device in {"cuda", "rocm"}
        return
    assert device in {"auto", plan.kind}
    assert dtype in {"auto", plan.dtype}
    assert (plan.device == "cuda") is bool(plan.gpu_indexes)
    assert len(plan.reasons) >= 2


def test_this_machine_can_be_read_and_planned_for() -> None:
    facts = read_torch_facts()
    assert facts.torch_version == torch.__version__
    assert 0 < facts.cpu.available_bytes <= facts.cpu.total_bytes
    assert facts.cpu.usable_threads >= 1
    assert plan_device(facts, DeviceWishes(device="cpu")).kind == "cpu"


@pytest.mark.skipif(sys.platform != "linux", reason="affinity masks are Linux's")
def test_an_affinity_mask_lowers_the_usable_threads() -> None:
    script = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        "from lithophone.backends.cgroup import affinity_count; print(affinity_count())"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "1"


def test_the_plan_is_put_into_force(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = torch.get_num_threads()
    monkeypatch.setattr(torch.backends.cudnn, "enabled", True)
    try:
        apply_plan(replace(plan_device(rocm_build(STRIX_HALO)), cpu_threads=1))
        assert torch.get_num_threads() == 1
        assert torch.backends.cudnn.enabled is False
    finally:
        torch.set_num_threads(threads)


def test_threads_that_come_later_do_not_bring_a_team_of_their_own() -> None:
    threads = torch.get_num_threads()
    seen: list[int] = []
    try:
        apply_plan(plan_device(CPU_BUILD, DeviceWishes(cpu_threads=3)))
        newcomer = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        newcomer.start()
        newcomer.join()
        assert (torch.get_num_threads(), seen) == (3, [1])
    finally:
        torch.set_num_threads(threads)


def test_a_tiny_model_is_computed_by_one_thread_unless_more_are_asked_for() -> None:
    tiny, real = sized(GB, parameters=5_000_000), sized(GB)
    assert plan_device(CPU_BUILD, size=tiny).cpu_threads == 1
    assert plan_device(CPU_BUILD, size=real).cpu_threads == 8
    assert plan_device(CPU_BUILD, DeviceWishes(cpu_threads=4), size=tiny).cpu_threads == 4


def test_planning_does_not_import_torch() -> None:
    script = "import sys, lithophone.backends.device.plan; print('torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"
