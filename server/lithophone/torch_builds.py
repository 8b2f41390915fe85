"""Which build of torch a machine takes, and its installation.

Owns the one table of builds: `make` runs this file before anything is installed, `lithophone doctor` and the Containerfile
read it too. Hence the standard library alone. PyPI's own torch for Linux brings several gigabytes of CUDA libraries, which
serve neither an AMD GPU nor a machine without any.

`python3 server/lithophone/torch_builds.py [cpu|cuda|rocm]` installs into the environment of that Python.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

VERSION: Final = "2.13.0"  # as in constraints.txt
WHEELS: Final = "https://download.pytorch.org/whl"  # PyTorch's own, one folder for each build
INDEX_OPTIONS: Final = ("index-url", "extra-index-url", "find-links", "no-index")


class TorchBuild(NamedTuple):
    """A build. `kind` is what it computes on; `tag` ends its version and names the folder of its wheels."""

    kind: str
    tag: str

    @property
    def requirement(self) -> str:
        """The very wheel, for pip."""
        return f"torch=={VERSION}+{self.tag}"

    @property
    def wheels(self) -> str:
        """Where it is."""
        return f"{WHEELS}/{self.tag}"


CPU: Final = TorchBuild("cpu", "cpu")
CUDA: Final = TorchBuild("cuda", "cu130")
OLDER_CUDA: Final = TorchBuild("cuda", "cu126")
ROCM: Final = TorchBuild("rocm", "rocm7.2")
BUILDS: Final = (CPU, CUDA, OLDER_CUDA, ROCM)

CUDA_13_DRIVER: Final = 580
"""The least driver that CUDA 13 takes (its release notes, table of drivers); 12.6 takes those from 525 on."""

QUERY_SECONDS: Final = 20.0


class Machine(NamedTuple):
    """What can be seen of a machine before there is any torch."""

    system: str
    processor: str
    amd: bool
    nvidia_driver: int | None


class Choice(NamedTuple):
    """A build, or None for whatever pip finds by itself, and why."""

    build: TorchBuild | None
    why: str


def read_machine(root: Path = Path("/")) -> Machine:
    """This machine, or one whose files lie below `root`."""
    return Machine(
        system=platform.system(),
        processor=platform.machine(),
        amd=(root / "dev" / "kfd").exists(),
        nvidia_driver=_nvidia_driver(root / "proc" / "driver" / "nvidia" / "version")
        or _nvidia_driver_of_windows(root / "usr" / "lib" / "wsl" / "lib" / "nvidia-smi"),
    )


def _nvidia_driver(file: Path) -> int | None:
    try:
        found = re.search(r"Kernel Module\D*(\d+)\.\d+", file.read_text())
    except OSError:
        return None
    return int(found[1]) if found else None


def _nvidia_driver_of_windows(query: Path) -> int | None:
    """In the Windows Subsystem for Linux the driver is that of Windows, which puts this program there and no kernel module."""
    command = [str(query), "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=QUERY_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.match(r"(\d+)\.\d+", said.stdout)
    return int(found[1]) if found else None


def choose(machine: Machine, wish: str = "") -> Choice:
    """The smallest build that serves a machine, or the one that was wished for.

    Raises:
        ValueError: there is no such build.
    """
    if wish:
        return Choice(_wished(machine, wish), f"TORCH={wish}")
    if machine.system != "Linux":
        return Choice(None, f"the plain torch is the right one for {machine.system}")
    if machine.processor not in {"x86_64", "AMD64"}:
        return Choice(CPU if machine.nvidia_driver is None else None, f"the processor is {machine.processor}")
    if machine.nvidia_driver is not None:
        return Choice(_cuda_for(machine.nvidia_driver), f"there is NVIDIA's driver {machine.nvidia_driver}")
    if machine.amd:
        return Choice(ROCM, "there is an AMD GPU that can compute (/dev/kfd)")
    return Choice(CPU, "there is neither /dev/kfd nor NVIDIA's driver")


def _wished(machine: Machine, wish: str) -> TorchBuild:
    if wish == CUDA.kind:
        return _cuda_for(machine.nvidia_driver or CUDA_13_DRIVER)
    for build in BUILDS:
        if wish == build.kind:
            return build
    raise ValueError(f"TORCH is cpu, cuda or rocm, not {wish!r}")


def _cuda_for(driver: int) -> TorchBuild:
    return CUDA if driver >= CUDA_13_DRIVER else OLDER_CUDA


def names_an_index(pip_settings: str) -> bool:
    """Whether somebody has told pip where packages are, by what `pip config list` prints."""
    names = {line.partition("=")[0].rpartition(".")[2] for line in pip_settings.splitlines()}
    return bool(names & {*INDEX_OPTIONS})


def describe(choice: Choice) -> str:
    """One line: what is taken, why, and what a wrong choice would look like."""
    if choice.build is None:
        return f"torch {VERSION} as pip finds it: {choice.why}"
    build = choice.build
    return (
        f"torch {VERSION}+{build.tag}: {choice.why}. If `lithophone doctor` then sees no GPU "
        "that is there, choose by hand: make clean install TORCH=cpu|cuda|rocm"
    )


def install(wish: str, constraints: Path) -> int:
    """Install what this machine takes; returns pip's exit code.

    An index that was set by hand is left alone. Where PyTorch's own cannot be reached, the plain one is taken.
    """
    choice = choose(read_machine(), wish)
    if names_an_index(_pip_settings()) and not wish:
        choice = Choice(None, "an index is set already (pip config list)")
    print(describe(choice), flush=True)  # noqa: T201 - for whoever runs make
    if choice.build is not None:
        build = choice.build
        options = ("--retries", "1", "--timeout", "15", "--extra-index-url", build.wheels)
        if _pip("install", "--constraint", str(constraints), *options, build.requirement) == 0:
            return 0
        print(  # noqa: T201 - as above
            f"warning: {build.wheels} gave no {build.requirement}; the plain index is used, whose torch for Linux is a CUDA "
            "build",
            file=sys.stderr,
        )
    return _pip("install", "--constraint", str(constraints), f"torch=={VERSION}")


def _pip_settings() -> str:
    listed = subprocess.run([*_PIP, "config", "list"], capture_output=True, text=True, check=False)
    return listed.stdout


_PIP: Final = (sys.executable, "-m", "pip")


def _pip(*arguments: str) -> int:
    quiet = ("--disable-pip-version-check", "--quiet")
    return subprocess.run([*_PIP, *quiet, *arguments], check=False).returncode


def main(arguments: Sequence[str]) -> int:
    """See the module; returns the exit code."""
    wish = arguments[0] if arguments else os.environ.get("TORCH", "")
    try:
        return install(wish, Path("constraints.txt"))
    except ValueError as error:
        print(error, file=sys.stderr)  # noqa: T201 - as above
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
