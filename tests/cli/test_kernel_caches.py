"""What torch keeps for lengths it has met: little, or memory grows as long as new ones come."""

import os
import subprocess
import sys

import pytest

from lithophone.cli import KERNEL_CACHES, main

MOST_GROWTH_MIB = 100
PROGRAM = """
import psutil, torch
torch.set_num_threads(1)
weight = torch.zeros(256, 256)
def multiplied(sizes):
    for size in sizes:
        torch.ops.mkldnn._linear_pointwise(torch.zeros(size, 256), weight, None, "none", [], "")
    return psutil.Process().memory_info().rss >> 20
if torch.backends.mkldnn.is_available():
    warm = multiplied(range(2, 150))
    print(multiplied(range(150, 700)) - warm)
"""


def test_products_of_new_lengths_do_not_grow_memory() -> None:
    """Without the bounds it is 370 MiB."""
    environment = {**os.environ, **KERNEL_CACHES}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
    )
    assert int(done.stdout or 0) < MOST_GROWTH_MIB


def test_a_command_bounds_them_unless_the_environment_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, told = KERNEL_CACHES
    monkeypatch.setattr(os, "environ", {**os.environ, told: "7"})
    os.environ.pop(kept, None)
    assert main(["completion", "bash"]) == 0
    assert {name: os.environ[name] for name in KERNEL_CACHES} == {kept: KERNEL_CACHES[kept], told: "7"}
