"""How much CPU and memory this process may use: affinity and control groups.

Owns the reading of cgroup v1 and v2 limits. Knows no torch and takes no decision.
Sources: the kernel's documentation of `cpu.max`, `memory.max` (v2), `cpu.cfs_quota_us` and `memory.limit_in_bytes` (v1).
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

UNLIMITED_BYTES = 1 << 60
"""cgroup v1 writes "no limit" as the largest multiple of a page below 2**63; nothing real is this large."""


class CgroupLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of this process's group and its ancestors, the tightest of each; None where there is none.

    `memory_available_bytes` is what the tightest group still has free, counting clean page cache as free.
    """

    cpus: float | None = None
    memory_limit_bytes: int | None = None
    memory_available_bytes: int | None = None


class MemoryGroup(msgspec.Struct, frozen=True, kw_only=True):
    """One group's memory: its limit, its use, and how much of the use is page cache that can be dropped."""

    limit_bytes: int
    used_bytes: int
    reclaimable_bytes: int

    @property
    def available_bytes(self) -> int:
        """Bytes a process in this group can still take."""
        return max(0, self.limit_bytes - self.used_bytes + self.reclaimable_bytes)


def parse_cpu_max(text: str) -> float | None:
    """CPUs allowed by a v2 `cpu.max` file, such as `200000 100000`; None for `max`."""
    quota, _, period = text.strip().partition(" ")
    return _cpus(quota, period or "100000")


def parse_cfs_quota(quota: str, period: str) -> float | None:
    """CPUs allowed by the v1 files `cpu.cfs_quota_us` and `cpu.cfs_period_us`; None for a quota of -1."""
    return _cpus(quota.strip(), period.strip())


def _cpus(quota: str, period: str) -> float | None:
    if quota == "max" or int(quota) <= 0 or int(period) <= 0:
        return None
    return int(quota) / int(period)


def parse_memory_limit(text: str) -> int | None:
    """Bytes allowed by `memory.max` (v2) or `memory.limit_in_bytes` (v1); None where there is no limit."""
    value = text.strip()
    if value == "max" or int(value) >= UNLIMITED_BYTES:
        return None
    return int(value)


def parse_reclaimable(memory_stat: str) -> int:
    """Bytes of inactive page cache in a `memory.stat` file, which the kernel drops before it kills anything.

    v1 lists its descendants' share under `total_inactive_file`, v2 has only `inactive_file` (descendants included).
    """
    fields = dict(line.split(" ", 1) for line in memory_stat.splitlines() if " " in line)
    return int(fields.get("total_inactive_file", fields.get("inactive_file", "0")))


def parse_memberships(proc_self_cgroup: str) -> dict[str, str]:
    """Controller name to group path, from `/proc/self/cgroup`; the v2 group stands under the empty name."""
    memberships: dict[str, str] = {}
    for line in proc_self_cgroup.splitlines():
        _, controllers, path = line.split(":", 2)
        memberships.update(dict.fromkeys(controllers.split(","), path))
    return memberships


def usable_threads(affinity: int, cpus: float | None) -> int:
    """Threads worth starting: the CPUs in the affinity mask, no more than the quota (rounded up) pays for."""
    return max(1, affinity if cpus is None else min(affinity, math.ceil(cpus)))


def affinity_count() -> int:
    """CPUs this process may be scheduled on; all of them where the system has no affinity masks."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def read_cgroup_limits(
    root: Path = Path("/sys/fs/cgroup"), memberships_file: Path = Path("/proc/self/cgroup")
) -> CgroupLimits:
    """Limits of this process as the kernel shows them; all None outside Linux."""
    memberships = parse_memberships(_read(memberships_file) or "")
    cpus = [*_cpu_limits_v2(root, memberships), *_cpu_limits_v1(root, memberships)]
    memory = [*_memory_v2(root, memberships), *_memory_v1(root, memberships)]
    return CgroupLimits(
        cpus=min(cpus, default=None),
        memory_limit_bytes=min((group.limit_bytes for group in memory), default=None),
        memory_available_bytes=min((group.available_bytes for group in memory), default=None),
    )


def _cpu_limits_v2(root: Path, memberships: dict[str, str]) -> Iterator[float]:
    for folder in _with_ancestors(root, memberships.get("", "/")):
        yield from _known(parse_cpu_max(text) for text in _texts(folder / "cpu.max"))


def _cpu_limits_v1(root: Path, memberships: dict[str, str]) -> Iterator[float]:
    for folder in _with_ancestors(root / "cpu", memberships.get("cpu", "/")):
        for quota in _texts(folder / "cpu.cfs_quota_us"):
            periods = _texts(folder / "cpu.cfs_period_us")
            yield from _known(parse_cfs_quota(quota, period) for period in periods)


def _memory_v2(root: Path, memberships: dict[str, str]) -> Iterator[MemoryGroup]:
    for folder in _with_ancestors(root, memberships.get("", "/")):
        yield from _memory_group(folder, limit="memory.max", used="memory.current")


def _memory_v1(root: Path, memberships: dict[str, str]) -> Iterator[MemoryGroup]:
    for folder in _with_ancestors(root / "memory", memberships.get("memory", "/")):
        yield from _memory_group(folder, limit="memory.limit_in_bytes", used="memory.usage_in_bytes")


def _memory_group(folder: Path, *, limit: str, used: str) -> Iterator[MemoryGroup]:
    limit_text, used_text = _read(folder / limit), _read(folder / used)
    limit_bytes = parse_memory_limit(limit_text) if limit_text else None
    if limit_bytes is None or not used_text:
        return
    reclaimable = parse_reclaimable(_read(folder / "memory.stat") or "")
    yield MemoryGroup(limit_bytes=limit_bytes, used_bytes=int(used_text), reclaimable_bytes=reclaimable)


def _with_ancestors(mount: Path, group: str) -> list[Path]:
    """The group's folder and every folder above it; inside a container the group may only be visible as the mount."""
    path = mount / group.strip("/")
    return [path, *(parent for parent in path.parents if parent.is_relative_to(mount))]


def _known(values: Iterable[float | None]) -> Iterator[float]:
    return (value for value in values if value is not None)


def _texts(path: Path) -> list[str]:
    text = _read(path)
    return [] if not text else [text]


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return None
