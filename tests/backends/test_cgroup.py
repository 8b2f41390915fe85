from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithophone.backends.cgroup import (
    CgroupLimits,
    parse_cfs_quota,
    parse_cpu_max,
    parse_memberships,
    parse_memory_limit,
    read_cgroup_limits,
    usable_threads,
)


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("max 100000\n", None), ("200000 100000\n", 2.0), ("50000 100000", 0.5), ("150000", 1.5)],
)
def test_cpu_max_is_quota_over_period(text: str, cpus: float | None) -> None:
    assert parse_cpu_max(text) == cpus


def test_a_v1_quota_of_minus_one_is_no_quota() -> None:
    assert parse_cfs_quota("-1\n", "100000\n") is None
    assert parse_cfs_quota("250000\n", "100000\n") == 2.5


@pytest.mark.parametrize(
    ("text", "limit"), [("max\n", None), ("9223372036854771712\n", None), ("2147483648\n", 2_147_483_648)]
)
def test_memory_limits_of_both_versions(text: str, limit: int | None) -> None:
    assert parse_memory_limit(text) == limit


def test_memberships_of_v1_and_v2() -> None:
    memberships = parse_memberships("4:memory:/jobs/a\n2:cpu,cpuacct:/jobs\n0::/user.slice\n")
    assert memberships == {"memory": "/jobs/a", "cpu": "/jobs", "cpuacct": "/jobs", "": "/user.slice"}


@given(affinity=st.integers(1, 512), cpus=st.none() | st.floats(0.01, 1024))
def test_threads_keep_within_affinity_and_quota(affinity: int, cpus: float | None) -> None:
    threads = usable_threads(affinity, cpus)
    assert 1 <= threads <= affinity
    assert cpus is None or threads < cpus + 1


def _write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_the_tightest_v2_ancestor_counts_and_page_cache_is_free(tmp_path: Path) -> None:
    root, membership = tmp_path / "cgroup", tmp_path / "self"
    membership.write_text("0::/pod/container\n")
    _write(root / "pod", cpu__max="150000 100000\n", memory__max="4000\n", memory__current="1000\n")
    (root / "pod" / "memory.stat").write_text("anon 700\ninactive_file 300\n")
    _write(root / "pod" / "container", cpu__max="max 100000\n", memory__max="max\n", memory__current="900\n")
    limits = read_cgroup_limits(root, membership)
    assert limits == CgroupLimits(cpus=1.5, memory_limit_bytes=4000, memory_available_bytes=3300)


def test_v1_files_of_a_container_are_found_at_the_mount(tmp_path: Path) -> None:
    root, membership = tmp_path / "cgroup", tmp_path / "self"
    membership.write_text("4:memory:/docker/x\n1:cpu,cpuacct:/docker/x\n0::/\n")
    _write(root / "cpu", cpu__cfs_quota_us="200000", cpu__cfs_period_us="100000")
    _write(root / "memory", memory__limit_in_bytes="5000", memory__usage_in_bytes="6000")
    limits = read_cgroup_limits(root, membership)
    assert limits == CgroupLimits(cpus=2.0, memory_limit_bytes=5000, memory_available_bytes=0)


def test_a_machine_without_control_groups_has_no_limits(tmp_path: Path) -> None:
    assert read_cgroup_limits(tmp_path, tmp_path / "missing") == CgroupLimits()
