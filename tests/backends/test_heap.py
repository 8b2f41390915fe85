"""What is freed is kept for the next allocation: page faults are counted, in processes of their own."""

import ctypes
import os
import platform
import resource
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
import pytest

from lithophone.backends.heap import LARGEST_KEPT_BYTES, keep_freed_pages

PAGES = LARGEST_KEPT_BYTES // 4 // resource.getpagesize()
ROUNDS = 20
SET_TRANSPARENT_HUGE_PAGES_OFF = 41  # prctl(2)

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only glibc can be told what to keep"
)


def _allocate() -> None:
    """Two blocks at a time, as a computation's input and output are."""
    for _ in range(ROUNDS):
        first = np.zeros(LARGEST_KEPT_BYTES // 16, np.float32) + 1
        del first


def _faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def measure() -> None:
    """Page faults of doing the same again, in a thread of its own as most of the server's work is.

    With huge pages a fault would bring 1 or 512 pages, by what the machine's memory has left in one piece.
    """
    ctypes.CDLL(None).prctl(SET_TRANSPARENT_HUGE_PAGES_OFF, 1, 0, 0, 0)
    keep_freed_pages()
    for work in (_allocate, lambda: sys.stdout.write(f"{-_faults()} "), _allocate):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    sys.stdout.write(str(_faults()))


def _faults_of_the_second_time(**environment: str) -> int:
    return sum(map(int, _said("measure", **environment).split()))


def _said(what: str, **environment: str) -> str:
    """What a function of this module prints in a process of its own."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", f"from tests.backends.test_heap import {what}; {what}()"],
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_what_is_freed_serves_again() -> None:
    assert _faults_of_the_second_time() < PAGES


def test_what_the_environment_says_of_the_heap_holds() -> None:
    assert _faults_of_the_second_time(MALLOC_MMAP_THRESHOLD_="65536") > PAGES / 2 * ROUNDS


MANY, HOLE_BYTES = 4_000, 32_000
LEAST_RETURNED_MIB = MANY // 2 * HOLE_BYTES / 3 / (1 << 20)


def leave_holes() -> None:
    """What is resident when every second of many small blocks was freed, and a while later, in MiB."""
    keep_freed_pages(for_seconds=0.2)
    blocks: list[bytes | None] = [bytes(HOLE_BYTES) for _ in range(MANY)]
    before = resident = _resident_mib()
    blocks[::2] = [None] * (MANY // 2)
    deadline = time.monotonic() + 20
    while resident > before - LEAST_RETURNED_MIB and time.monotonic() < deadline:
        time.sleep(0.05)
        resident = _resident_mib()
    sys.stdout.write(f"{before} {resident}")


def _resident_mib() -> int:
    return psutil.Process().memory_info().rss >> 20


def test_what_was_freed_in_a_burst_is_given_back_after_a_while() -> None:
    before, after = map(int, _said("leave_holes").split())
    assert after <= before - LEAST_RETURNED_MIB
