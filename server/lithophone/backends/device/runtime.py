"""torch as the runtime of a worker's thread, and what its errors mean.

Sources: `torch.OutOfMemoryError` and `torch.AcceleratorError` (torch 2.9 and later); what older calls and the vendors'
libraries raise is a `RuntimeError` that only its words tell apart.
"""

from __future__ import annotations

import gc
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import torch

from lithophone.backends.base import Fault
from lithophone.backends.heap import return_freed_pages

_NO_MEMORY = re.compile(
    r"out of memory|can't allocate memory|(CUBLAS|HIPBLAS|MIOPEN)_STATUS_ALLOC_FAILED", re.IGNORECASE
)
_LOST = re.compile(
    r"\b(CUDA|HIP) (driver )?error\b|\b(CUBLAS|CUDNN|CUSOLVER|HIPBLAS|MIOPEN)\w*_STATUS_|MIOpen Error|device-side assert",
    re.IGNORECASE,
)


class TorchRuntime:
    """See `lithophone.backends.base.Runtime`."""

    @contextmanager
    def thread(self) -> Iterator[None]:
        """Nothing in it is ever differentiated.

        One mode for all of it: a tensor that was made inside of `inference_mode` cannot be written to outside.
        """
        with torch.inference_mode():
            yield

    def judge(self, error: Exception) -> Fault:
        """An error of the device leaves its context unusable, whatever was asked of it."""
        if isinstance(error, torch.OutOfMemoryError | MemoryError):
            return Fault.OUT_OF_MEMORY
        if not isinstance(error, RuntimeError):
            return Fault.WINDOW
        if _NO_MEMORY.search(str(error)):
            return Fault.OUT_OF_MEMORY
        lost = isinstance(error, torch.AcceleratorError) or _LOST.search(str(error))
        return Fault.DEVICE_LOST if lost else Fault.WINDOW

    def trim(self) -> None:
        """Blocks that torch keeps of freed tensors, on the device and in the process."""
        release_memory()

    def memory_bytes(self) -> int:
        """What torch has reserved on the GPUs, or the peak of the process's resident memory."""
        if torch.cuda.is_available() and torch.cuda.is_initialized():
            return sum(torch.cuda.max_memory_reserved(index) for index in range(torch.cuda.device_count()))
        return peak_resident_bytes()


def peak_resident_bytes() -> int:
    """The most memory this process ever had at a time."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource  # noqa: PLC0415 - not on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def release_memory() -> None:
    """Collect what is unreachable and hand cached blocks back to the driver and the system."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return_freed_pages()
