from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from msgspec.structs import replace
from rich.console import Console

from lithophone import doctor, torch_builds
from lithophone.backends.device.facts import TorchFacts
from lithophone.backends.device.plan import DeviceRequest, DeviceWishes
from lithophone.granite.family import FAMILY
from tests.machines import CPU_BUILD, GB, MI300, STRIX_HALO, T4, cpu, cuda_build, rocm_build


def _page(facts: TorchFacts, width: int = 200, device: DeviceRequest = "auto") -> str:
    report = doctor.examine(facts, {}, DeviceWishes(device=device))
    page = io.StringIO()
    Console(file=page, width=width, color_system=None).print(doctor.render(report))
    return page.getvalue()


def _row(page: str, model_id: str) -> str:
    return next(
        " ".join(line.split()) for line in page.splitlines() if f"{line.strip()} ".startswith(model_id)
    )


def test_the_table_of_a_cpu_says_which_dtypes_fit() -> None:
    page = _page(replace(CPU_BUILD, cpu=cpu(available_bytes=12 * GB)))
    assert _row(page, "granite-speech-4.1-2b ") == "granite-speech-4.1-2b 5.4 5.4 10.1 3.2 2.4 yes"
    assert _row(page, "granite-speech-3.3-2b ") == "granite-speech-3.3-2b 6.8 6.8 12.8 3.8 2.9 fp16/bf16"
    assert _row(page, "granite-speech-3.3-8b ") == "granite-speech-3.3-8b 18.1 18.1 35.4 9.5 6.6 int8/int4"


def test_the_table_of_a_gpu_answers_for_the_gpu_and_the_cpu() -> None:
    assert _row(_page(cuda_build(T4)), "granite-speech-3.3-8b ").endswith("GPU no, CPU fp16/bf16")


@pytest.mark.parametrize("width", [80, 120])
def test_no_model_name_is_broken_on_a_terminal(width: int) -> None:
    page = _page(rocm_build(STRIX_HALO), width)
    assert all(_row(page, model_id) for model_id in FAMILY)
    assert max(len(line) for line in page.splitlines()) <= width


def test_a_plain_cpu_is_described_with_the_reasons_of_its_plan() -> None:
    page = _page(CPU_BUILD)
    for said in (
        "2.13.0+cpu",
        "cpu in float32",
        "no native bfloat16",
        "avx512_f",
        "8 usable threads",
        "24.0 GB free",
    ):
        assert said in page
    assert "Advice" not in page


def test_strix_halo_is_described_with_its_advice() -> None:
    page = _page(rocm_build(STRIX_HALO))
    for said in (
        "HIP 7.1.5",
        "rocm in bfloat16",
        "gfx1151",
        "67.0 GB free of 67.0 GB unified memory",
        "set TORCH_ROCM_AOTRITON_ENABLE_EXPERIMENTAL=1",
        "set TORCH_BLAS_PREFER_HIPBLASLT=1",
        "GTT",
        "MIOpen",
        "untested on hardware",
    ):
        assert said in page


def test_a_torch_that_cannot_use_the_gpu_is_said_with_the_command() -> None:
    amd = torch_builds.Choice(torch_builds.ROCM, "there is an AMD GPU")
    report = replace(doctor.examine(CPU_BUILD, {}), torch_choice=amd)
    page = io.StringIO()
    Console(file=page, width=200).print(doctor.render(report))
    assert (
        "this machine takes rocm7.2 (there is an AMD GPU): make clean install TORCH=rocm" in page.getvalue()
    )
    assert "this machine takes" not in _page(CPU_BUILD)


def test_a_device_that_cannot_be_served_is_said_first_and_fails() -> None:
    report = doctor.examine(rocm_build(MI300), {}, DeviceWishes(device="cuda"))
    assert not report.healthy
    assert report.plan.kind == "rocm"
    page = _page(rocm_build(MI300), device="cuda")
    assert page.startswith("Cannot start: torch 2.13.0+rocm7.1 is built for ROCm")
    assert "what auto would choose" in page


def test_a_missing_ffmpeg_is_unhealthy() -> None:
    report = replace(doctor.examine(CPU_BUILD, {}), ffmpeg=None)
    page = io.StringIO()
    Console(file=page, width=120).print(doctor.render(report))
    assert not report.healthy
    assert "NOT FOUND" in page.getvalue()


def test_the_ffmpeg_that_is_found_exists_and_has_a_version() -> None:
    ffmpeg = doctor.find_ffmpeg()
    assert ffmpeg is not None
    assert Path(ffmpeg.path).is_file()
    assert ffmpeg.version


def test_run_prints_this_machine_and_succeeds(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.run(DeviceWishes(device="cpu")) == doctor.EXIT_HEALTHY
    assert "GB of memory to load and serve a model" in capsys.readouterr().out


def test_run_prints_json_with_the_same_facts(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.run(DeviceWishes(device="cpu", dtype="float16"), as_json=True) == doctor.EXIT_HEALTHY
    report = json.loads(capsys.readouterr().out)
    assert report["plan"]["dtype"] == "float16"
    assert report["problem"] is None
    assert [row["model_id"] for row in report["fits"]] == list(FAMILY)


def test_run_fails_for_a_dtype_that_does_not_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.run(DeviceWishes(dtype="int4"), as_json=True) == doctor.EXIT_PROBLEM  # type: ignore[arg-type]
    assert "has to be one of auto" in json.loads(capsys.readouterr().out)["problem"]
