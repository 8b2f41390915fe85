"""What the server spends on files that claim, hold or cost too much, before it refuses them.

Owns the processor time that they take of the server, its model and its decoders. Times on a clock are not asked: what a
file costs shall not depend on who else is at work.
"""

from __future__ import annotations

import time

import httpx
import psutil

from tests.bombs import BOMBS
from tests.trust.scarcity import started


def spent_seconds(process: psutil.Process) -> float:
    """Processor time of a process, of its children, and of those that have ended."""
    seconds = 0.0
    for one in (process, *process.children(recursive=True)):
        times = one.cpu_times()
        seconds += times.user + times.system + times.children_user + times.children_system
    return seconds


def bad_media() -> None:
    """Prints what each costs."""
    with started() as (url, process):
        for name, build in BOMBS.items():
            data = build()
            begun, before = time.monotonic(), spent_seconds(process)
            answer = httpx.post(
                f"{url}/v1/audio/transcriptions",
                files={"file": ("a", data)},
                data={"model": "whisper-1"},
                timeout=600,
            )
            spent = spent_seconds(process) - before
            said = answer.json().get("error", {}).get("message", "")[:60]
            print(
                f"bad_media: {name}, {len(data) / 1e6:.1f} MB: {answer.status_code}, {spent:.1f} CPU-seconds "
                f"({time.monotonic() - begun:.1f} s on the clock); {said}",
                flush=True,
            )
