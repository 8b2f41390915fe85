from __future__ import annotations

from pathlib import Path

import pytest

from lithophone.backends.rocm import (
    arch_from_kfd,
    has_native_bfloat16,
    missing_variables,
    notes,
    read_kfd_archs,
    startup_environment,
)

ATTENTION = "TORCH_ROCM_AOTRITON_ENABLE_EXPERIMENTAL"
HIPBLASLT = "TORCH_BLAS_PREFER_HIPBLASLT"


@pytest.mark.parametrize(
    ("number", "arch"),
    [(110501, "gfx1151"), (90010, "gfx90a"), (90402, "gfx942"), (110000, "gfx1100"), (0, None)],
)
def test_the_kernels_number_names_the_target(number: int, arch: str | None) -> None:
    assert arch_from_kfd(number) == arch


@pytest.mark.parametrize(
    ("arch", "native"),
    [
        ("gfx908", True),
        ("gfx90a:sramecc+:xnack-", True),
        ("gfx942", True),
        ("gfx950", True),
        ("gfx1100", True),
        ("gfx1151", True),
        ("gfx1201", True),
        ("gfx900", False),
        ("gfx906", False),
        ("gfx1030", False),
        ("", False),
    ],
)
def test_bfloat16_is_native_on_cdna_and_from_rdna3_on(arch: str, native: bool) -> None:
    assert has_native_bfloat16(arch) is native


@pytest.mark.parametrize(
    ("arch", "names"),
    [("gfx1151", [ATTENTION, HIPBLASLT]), ("gfx1100", [HIPBLASLT]), ("gfx1200", [ATTENTION]), ("gfx942", [])],
)
def test_only_variables_that_help_the_gpu_are_advised(arch: str, names: list[str]) -> None:
    assert [variable.name for variable in missing_variables([arch], {})] == names


def test_a_variable_that_is_set_is_left_alone_whatever_its_value() -> None:
    assert missing_variables(["gfx1151"], {ATTENTION: "0", HIPBLASLT: "0"}) == ()


def test_the_override_is_warned_about() -> None:
    assert "nonsense" in notes(["gfx1100"], {"HSA_OVERRIDE_GFX_VERSION": "11.0.0"}, unified_memory=False)[0]


def test_a_rocm_build_is_given_its_variables_before_torch_loads() -> None:
    assert startup_environment("2.13.0+rocm7.1", ["gfx1151"], {HIPBLASLT: "0"}) == {ATTENTION: "1"}


@pytest.mark.parametrize("version", ["2.13.0+cpu", "2.13.0+cu130", "2.13.0"])
def test_other_builds_are_given_no_variables(version: str) -> None:
    assert startup_environment(version, ["gfx1151"], {}) == {}


def test_the_driver_lists_gpus_beside_processors(tmp_path: Path) -> None:
    for node, version in enumerate((0, 110501)):
        (tmp_path / str(node)).mkdir()
        (tmp_path / str(node) / "properties").write_text(f"simd_count {node}\ngfx_target_version {version}\n")
    assert read_kfd_archs(tmp_path) == ("gfx1151",)


def test_without_the_driver_there_are_no_gpus(tmp_path: Path) -> None:
    assert read_kfd_archs(tmp_path / "missing") == ()
