# pyright: reportMissingImports=false
# ruff: noqa: E402 - what comes behind the skips needs Triton
"""The Triton kernels compiled for GPUs that are not there: errors, shared memory and spilled registers show without one.

Needs Triton, which a CPU build of torch lacks: `pip install triton`.
"""

from __future__ import annotations

import os
import re
from typing import Any

import pytest

os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")  # Triton 3.9 warns of a change otherwise
triton: Any = pytest.importorskip("triton")
if triton.knobs.runtime.interpret:
    pytest.skip("what is interpreted cannot be compiled", allow_module_level=True)

from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from lithophone.backends.gpu import triton_attention, triton_kernels, triton_products
from lithophone.backends.gpu.tuning import AMD, NVIDIA, Tuning

TARGETS = [
    GPUTarget("cuda", 80, 32),
    GPUTarget("cuda", 90, 32),
    GPUTarget("hip", "gfx1151", 32),
    GPUTarget("hip", "gfx1100", 32),
    GPUTarget("hip", "gfx942", 64),
]
SHARED_BYTES = {80: 163 << 10, 90: 227 << 10, "gfx1151": 64 << 10, "gfx1100": 64 << 10, "gfx942": 64 << 10}
SPILLS = re.compile(r"\.[vs]gpr_spill_count:\s*(\d+)")


def tuning_for(target: Any) -> Tuning:
    return AMD if target.backend == "hip" else NVIDIA


def compiled(function: Any, target: Any, dtype: str, constants: dict[str, Any], **options: Any) -> Any:
    """The kernel; pointers are told from numbers by their names."""
    pointers = dict.fromkeys(("slots", "positions", "table"), "*i32")
    pointers |= dict.fromkeys(("rotation", "sums", "parts"), "*fp32")
    numbers = dict.fromkeys(("features", "table_width", "tokens", "outputs"), "i32")
    numbers |= dict.fromkeys(("epsilon", "scale"), "fp32")
    signature = {
        name: "constexpr" if name in constants else (pointers | numbers).get(name, f"*{dtype}")
        for name in function.arg_names
    }
    whole = {  # what is known of pointers of torch and of sizes of models
        (at,): [["tt.divisibility", 16]]
        for at, name in enumerate(function.arg_names)
        if signature[name] not in {"constexpr", "fp32"} and name != "tokens"
    }
    found = triton.compile(ASTSource(function, signature, constants, whole), target=target, options=options)
    assert found.metadata.shared <= SHARED_BYTES[target.arch]
    if "amdgcn" in found.asm and dtype != "fp32":
        assert {int(count) for count in SPILLS.findall(found.asm["amdgcn"])} == {0}
    return found


@pytest.mark.parametrize("dtype", ["bf16", "fp16", "fp32"])
@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_every_kernel_compiles(target: Any, dtype: str) -> None:
    compiled(triton_kernels._rms_norm, target, dtype, {"BLOCK": 2048})
    compiled(triton_kernels._gated, target, dtype, {"BLOCK": triton_kernels.GATED_BLOCK})
    heads = {"QUERIES": 32, "KEYS": 8, "PAGE": 64}
    item = 4 if dtype == "fp32" else 2
    for width in (64, 128):
        compiled(
            triton_kernels._rotate_and_store,
            target,
            dtype,
            heads | {"WIDTH": width, "HALF": width // 2},
            num_warps=1,
        )
        for splits in (1, 16):
            shape = heads | {"WIDTH": width, "ROWS": 16, "SPLITS": splits, "COLUMNS": width}
            block = triton_attention.block_of(tuning_for(target).keys_bytes, width, item)
            compiled(triton_attention._attend, target, dtype, shape | {"BLOCK": block})
        compiled(
            triton_attention._join,
            target,
            dtype,
            {"WIDTH": width, "SPLITS": 16, "COLUMNS": width},
            num_warps=1,
        )


@pytest.mark.parametrize("rows", [16, 32, 64])
@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_every_product_compiles(target: Any, rows: int) -> None:
    tuning = tuning_for(target)
    if rows > tuning.most_tokens:
        pytest.skip("not used")
    for gated, tile in ((False, tuning.normed), (True, tuning.gated)):
        constants = {"GATED": gated, "ROWS": rows, "OUTPUTS": tile.outputs, "FEATURES": tile.features}
        options = {"num_warps": tile.warps, "num_stages": tile.stages}
        compiled(triton_products._normed_product, target, "bf16", constants, **options)
