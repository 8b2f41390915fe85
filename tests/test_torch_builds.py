"""Which torch a machine gets, by machines that are described, and what `make` would do."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from lithophone import torch_builds
from lithophone.torch_builds import (
    BUILDS,
    CPU,
    CUDA,
    OLDER_CUDA,
    ROCM,
    Machine,
    TorchBuild,
    choose,
    describe,
    names_an_index,
    read_machine,
)

MAKE = shutil.which("make") or "make"
ROOT = Path(__file__).resolve().parent.parent
PLAIN = Machine(system="Linux", processor="x86_64", amd=False, nvidia_driver=None)
NVIDIA = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  {}.54.14  Thu Feb 22 01:44:30 UTC 2026\n"


@pytest.mark.parametrize(
    ("machine", "build"),
    [
        (PLAIN, CPU),
        (PLAIN._replace(amd=True), ROCM),
        (PLAIN._replace(nvidia_driver=580), CUDA),
        (PLAIN._replace(nvidia_driver=550), OLDER_CUDA),
        (PLAIN._replace(nvidia_driver=580, amd=True), CUDA),
        (PLAIN._replace(system="Darwin", processor="arm64"), None),
        (PLAIN._replace(processor="aarch64"), CPU),
        (PLAIN._replace(processor="aarch64", nvidia_driver=580), None),
    ],
)
def test_a_machine_gets_the_smallest_build_that_serves_it(machine: Machine, build: TorchBuild | None) -> None:
    assert choose(machine).build == build


@pytest.mark.parametrize("kind", ["cpu", "cuda", "rocm"])
def test_a_wish_wins(kind: str) -> None:
    build = choose(PLAIN, kind).build
    assert build is not None
    assert build.kind == kind
    with pytest.raises(ValueError, match="TORCH is cpu, cuda or rocm, not 'metal'"):
        choose(PLAIN, "metal")


@pytest.mark.parametrize(("driver", "found"), [("580", 580), ("550", 550), (None, None)])
def test_a_machine_is_read_from_its_files(driver: str | None, found: int | None, tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    if driver is not None:
        folder = tmp_path / "proc" / "driver" / "nvidia"
        folder.mkdir(parents=True)
        (folder / "version").write_text(NVIDIA.format(driver))
    assert read_machine(tmp_path).nvidia_driver == found
    assert not read_machine(tmp_path).amd
    (tmp_path / "dev" / "kfd").touch()
    assert read_machine(tmp_path).amd


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("echo 581.29", 581),
        ("echo 'No devices were found'", None),
        ("echo 581.29; exit 9", None),
    ],
)
def test_the_driver_of_windows_is_found_from_within_wsl(said: str, found: int | None, tmp_path: Path) -> None:
    query = tmp_path / "usr" / "lib" / "wsl" / "lib" / "nvidia-smi"
    query.parent.mkdir(parents=True)
    query.write_text(f"#!/bin/sh\n{said}\n")
    query.chmod(0o755)
    assert read_machine(tmp_path).nvidia_driver == found


def test_one_line_says_what_why_and_how_to_choose() -> None:
    line = describe(choose(PLAIN._replace(amd=True)))
    assert line.startswith("torch 2.13.0+rocm7.2: there is an AMD GPU that can compute (/dev/kfd).")
    assert "TORCH=cpu|cuda|rocm" in line


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ("global.extra-index-url='somewhere'\n", True),
        (":env:.index-url='somewhere'\n", True),
        (":env:.find-links='/wheels'\n", True),
        (":env:.disable-pip-version-check='1'\nglobal.cert='x'\n", False),
        ("", False),
    ],
)
def test_an_index_that_is_set_is_seen(settings: str, named: bool) -> None:
    assert names_an_index(settings) is named


class FakePip:
    """Remembers what it is asked for; the installations that fail are those whose words it knows."""

    def __init__(self, settings: str, failing: str = "") -> None:
        self.asked: list[list[str]] = []
        self._settings, self._failing = settings, failing

    def __call__(self, command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        self.asked.append(command)
        failed = bool(self._failing) and any(self._failing in word for word in command)
        said = "" if "--quiet" in command else self._settings
        return subprocess.CompletedProcess(command, returncode=int(failed), stdout=said)

    def wanted(self) -> list[str]:
        return [command[-1] for command in self.asked if "install" in command]


@pytest.mark.parametrize(
    ("settings", "failing", "wish", "wanted"),
    [
        ("", "", "", ["torch==2.13.0+rocm7.2"]),
        ("global.index-url='x'", "", "", ["torch==2.13.0"]),
        ("global.index-url='x'", "", "cpu", ["torch==2.13.0+cpu"]),
        ("", "pytorch.org", "", ["torch==2.13.0+rocm7.2", "torch==2.13.0"]),
    ],
    ids=["chosen", "left alone", "wished", "not reached"],
)
def test_what_is_installed(
    settings: str, failing: str, wish: str, wanted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pip = FakePip(settings, failing)
    monkeypatch.setattr(torch_builds.subprocess, "run", pip)
    monkeypatch.setattr(torch_builds, "read_machine", lambda: PLAIN._replace(amd=True))
    assert torch_builds.install(wish, Path("constraints.txt")) == 0
    assert pip.wanted() == wanted


def test_make_hands_the_wish_on_and_installs_torch_before_the_rest() -> None:
    done = subprocess.run(
        [MAKE, "-n", "install", "TORCH=rocm", "VENV=none"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "MAKEFLAGS": ""},
    )
    lines = done.stdout.splitlines()
    torch = next(place for place, line in enumerate(lines) if "torch_builds.py rocm" in line)
    rest = next(place for place, line in enumerate(lines) if "--editable '." in line)
    assert torch < rest


def test_the_version_is_that_of_the_constraints_and_of_the_container() -> None:
    assert f"torch=={torch_builds.VERSION}\n" in (ROOT / "constraints.txt").read_text()
    container = (ROOT / "Containerfile").read_text()
    assert re.search(r'torch_builds\.py "\$VARIANT"', container)
    assert not any(build.tag in container for build in BUILDS if build is not CPU)
