"""Memory between Python and the system: which pages glibc keeps for the next allocation, and when it gives them back.

A page fresh from the system costs a fault and is cleared; on a virtual machine that takes microseconds. A waveform, a form
or a layer's activations are hundreds of pages that are wanted again a moment later. Other C libraries have no such calls,
and are left as they are.
"""

from __future__ import annotations

import ctypes
import gc
import mmap
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # M_… of malloc.h
LARGEST_KEPT_BYTES = 32 << 20
"""Larger blocks come from the system and go back at once. glibc raises its own threshold to this as blocks are freed."""

FEW_KEPT_BYTES: Final = 3 << 19
"""The same for a process whose large blocks are waveforms, each used once: between small blocks that last they would leave holes."""

KEPT_SECONDS: Final = 60.0
"""How long what a burst of requests needed is kept for the next one."""

LEAST_RELEASED_BYTES = 1 << 20
"""Of a tensor whose pages are dropped: smaller ones are not worth asking where they are."""


def keep_freed_pages(
    environ: Mapping[str, str] = os.environ,
    *,
    largest_bytes: int = LARGEST_KEPT_BYTES,
    for_seconds: float | None = None,
) -> None:
    """Keep what is freed, from the start, and for all threads in one heap, where it leaves fewer holes.

    Args:
        environ: Where it says otherwise already (`MALLOC_…_`, glibc's own), nothing is changed.
        largest_bytes: Of a block that is kept.
        for_seconds: As often all that is free goes back, from a thread that lasts as long as the process: each time takes tens of
            milliseconds, in which nothing else allocates. Without it what the busiest moment needed is kept for good.
    """
    if any(name.startswith("MALLOC_") for name in environ):
        return
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_MMAP_THRESHOLD, largest_bytes)
        libc.mallopt(_TRIM_THRESHOLD, 2 * LARGEST_KEPT_BYTES)
        libc.mallopt(_ARENA_MAX, 1)
        trim = libc.malloc_trim
    except (OSError, AttributeError):
        return
    if for_seconds is not None:
        threading.Thread(
            target=_give_back, args=(trim, for_seconds), name="lithophone-heap", daemon=True
        ).start()


def _give_back(trim: Callable[[int], object], every_seconds: float) -> None:
    while True:
        time.sleep(every_seconds)
        trim(2 * LARGEST_KEPT_BYTES)


def return_freed_pages() -> None:
    """Collect what is unreachable and give every page back that nothing lies on; takes tens of milliseconds."""
    gc.collect()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        return


def release_file_pages(tensor: Any) -> None:
    """Drop the pages of a large tensor that is mapped from a file, which the system would keep as long as there is room.

    Reading it again reads the file again, and what was written into it is lost. Other tensors are left alone.
    """
    if tensor.nbytes < LEAST_RELEASED_BYTES or not _is_in_file(tensor.data_ptr()):
        return
    first = -(-tensor.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
    size = (tensor.data_ptr() + tensor.nbytes - first) // mmap.PAGESIZE * mmap.PAGESIZE
    ctypes.CDLL(None).madvise(ctypes.c_void_p(first), ctypes.c_size_t(size), mmap.MADV_DONTNEED)


def _is_in_file(address: int) -> bool:
    """Whether memory is mapped from a file, as Linux says it; elsewhere no memory is."""
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    for line in lines:
        where, *_, source = line.split(maxsplit=5)
        first, end = (int(bound, 16) for bound in where.split("-"))
        if first <= address < end:
            return source.startswith("/")
    return False
