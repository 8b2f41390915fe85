"""Kernels that begin while the one before them still runs: programmatic dependent launch, of CUDA from Hopper on.

A step of one token is some hundred short kernels, and between two of them a GPU stands idle until the next one has begun. One
that overlaps the other may fetch weights meanwhile, but has to wait before it reads what the other computes, and before it
writes anything.
"""

# pyright: reportMissingImports=false, reportUntypedFunctionDecorator=false
# See triton_kernels.

from __future__ import annotations

from typing import Any, Final

import torch
import triton
import triton.language as tl

FIRST_CAPABILITY: Final = (9, 0)
LINE_BYTES: Final = 128  # of the cache that all of the GPU shares


@triton.jit
def let_next_begin(OVERLAPS: tl.constexpr) -> None:
    """The kernel behind this one may begin; called before anything else."""
    if OVERLAPS:
        tl.extra.cuda.gdc_launch_dependents()


@triton.jit
def wait_for_previous(OVERLAPS: tl.constexpr) -> None:
    """Until the kernel before this one, and so all before that one, has written all it writes."""
    if OVERLAPS:
        tl.extra.cuda.gdc_wait()


@triton.jit
def fetch_ahead(addresses: tl.tensor) -> None:
    """Have the lines at these addresses brought into the cache; nobody waits for them."""
    tl.inline_asm_elementwise(
        "prefetch.global.L2 [$1]; // $0",
        "=r,l",
        [addresses.to(tl.int64)],
        dtype=tl.int32,
        is_pure=False,
        pack=1,
    )


def can_overlap(device: torch.device) -> bool:
    """Whether kernels on this device can."""
    if torch.version.hip or device.type != "cuda":
        return False
    return torch.cuda.get_device_capability(device) >= FIRST_CAPABILITY


def launched(*, overlaps: bool) -> dict[str, Any]:
    """What a kernel with `OVERLAPS` among its constants is launched with."""
    return {"OVERLAPS": True, "launch_pdl": True} if overlaps else {"OVERLAPS": False}
