# pyright: reportMissingImports=false
# ruff: noqa: E402 - what comes behind the skips needs Triton
"""The Triton kernels compiled for GPUs that are not there: errors, shared memory and spilled registers show without one.

Needs Triton, which a CPU build of torch lacks: `pip install triton`.
"""

from __future__ import annotations

import os
import re
from itertools import product
from typing import Any

import pytest

os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")  # Triton 3.9 warns of a change otherwise
triton: Any = pytest.importorskip("triton")
if triton.knobs.runtime.interpret:
    pytest.skip("what is interpreted cannot be compiled", allow_module_level=True)

from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from lithophone.backends.gpu import triton_attention, triton_conformer, triton_kernels, triton_products
from lithophone.backends.gpu.triton_overlap import FIRST_CAPABILITY, LINE_BYTES
from lithophone.backends.gpu.tuning import AMD, NVIDIA, Tuning

TARGETS = [
    GPUTarget("cuda", 80, 32),
    GPUTarget("cuda", 90, 32),
    GPUTarget("hip", "gfx1151", 32),
    GPUTarget("hip", "gfx1100", 32),
    GPUTarget("hip", "gfx942", 64),
]
SHARED_BYTES = {80: 163 << 10, 90: 227 << 10, "gfx1151": 64 << 10, "gfx1100": 64 << 10, "gfx942": 64 << 10}
READ_CONSTANTS_FIRST = {"_rms_norm", "_normed_product", "_rotate_and_store", "_attend"}
LINE = LINE_BYTES // 2
UNEVEN = {"tokens", "frames", "blocks", "middle"}
SPILLS = re.compile(r"\.[vs]gpr_spill_count:\s*(\d+)")


def tuning_for(target: Any) -> Tuning:
    return AMD if target.backend == "hip" else NVIDIA


def compiled(function: Any, target: Any, dtype: str, constants: dict[str, Any], **options: Any) -> Any:
    """The kernel; pointers are told from numbers by their names."""
    pointers = dict.fromkeys(("slots", "positions", "table"), "*i32")
    pointers |= dict.fromkeys(("rotation", "sums", "parts"), "*fp32")
    pointers |= dict.fromkeys(("gapped_index", "places"), "*i64")
    numbers = dict.fromkeys(
        (
            "features",
            "table_width",
            "tokens",
            "outputs",
            "frames",
            "channels",
            "blocks",
            "bias_stride",
            "middle",
        ),
        "i32",
    )
    numbers |= dict.fromkeys(("epsilon", "scale"), "fp32")
    signature = {
        name: "constexpr" if name in constants else (pointers | numbers).get(name, f"*{dtype}")
        for name in function.arg_names
    }
    whole = {  # what is known of pointers of torch and of sizes of models
        (at,): [["tt.divisibility", 16]]
        for at, name in enumerate(function.arg_names)
        if signature[name] not in {"constexpr", "fp32"} and name not in UNEVEN
    }
    found = triton.compile(ASTSource(function, signature, constants, whole), target=target, options=options)
    assert found.metadata.shared <= SHARED_BYTES[target.arch]
    if "amdgcn" in found.asm and dtype != "fp32":
        assert {int(count) for count in SPILLS.findall(found.asm["amdgcn"])} == {0}
    return found


def of_the_decoder(function: Any, target: Any, dtype: str, constants: dict[str, Any], **options: Any) -> None:
    """One of the kernels that may overlap each other; as it is for this kind of GPU, which waits only where it has to."""
    overlaps = target.backend == "cuda" and divmod(target.arch, 10) >= FIRST_CAPABILITY
    found = compiled(function, target, dtype, constants | {"OVERLAPS": overlaps}, **options)
    before, *after = str(found.asm.get("ptx", "")).split("griddepcontrol.wait")
    assert len(after) == (1 if overlaps else 0)
    if overlaps:
        assert "st.global" not in before
        loads = before.count("ld.global")
        assert (loads > 0) == (function.__name__ in READ_CONSTANTS_FIRST)


@pytest.mark.parametrize("dtype", ["bf16", "fp16", "fp32"])
@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_every_kernel_compiles(target: Any, dtype: str) -> None:
    of_the_decoder(triton_kernels._rms_norm, target, dtype, {"BLOCK": 2048})
    of_the_decoder(triton_kernels._gated, target, dtype, {"BLOCK": triton_kernels.GATED_BLOCK})
    heads = {"QUERIES": 32, "KEYS": 8, "PAGE": 64}
    item = 4 if dtype == "fp32" else 2
    for width in (64, 128):
        of_the_decoder(
            triton_kernels._rotate_and_store,
            target,
            dtype,
            heads | {"WIDTH": width, "HEADS": triton_kernels.ROTATED_HEADS, "HALF": width // 2},
            num_warps=2,
        )
        tuning = tuning_for(target)
        for splits, group in product((1, 16), (triton_attention.FEW_GROUPED, tuning.query_tokens)):
            shape = heads | {"WIDTH": width, "GROUP": group, "ROWS": 4 * group, "SPLITS": splits}
            block = triton_attention.block_of(tuning.keys_bytes, width, item)
            of_the_decoder(
                triton_attention._attend, target, dtype, shape | {"BLOCK": block, "COLUMNS": width}
            )
        of_the_decoder(
            triton_attention._join,
            target,
            dtype,
            {"WIDTH": width, "SPLITS": 16, "COLUMNS": width},
            num_warps=1,
        )


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_every_product_compiles(target: Any, dtype: str) -> None:
    tuning = tuning_for(target)
    for tile, gated in product(tuning.normed, (False, True)):
        sizes = {"OUTPUTS": tile.outputs, "FEATURES": 2048, "STAGES": tile.stages, "LINE": LINE}
        kernel = triton_products._normed_product
        of_the_decoder(kernel, target, dtype, sizes | {"GATED": gated}, num_warps=tile.warps)
    for tile in tuning.added:
        sizes = {"OUTPUTS": tile.outputs, "FEATURES": tile.features, "STAGES": tile.stages}
        sizes |= {"AHEAD": triton_products.MOST_AHEAD, "LINE": LINE}
        of_the_decoder(triton_products._add_product, target, dtype, sizes, num_warps=tile.warps)


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_the_encoders_kernels_compile(target: Any, dtype: str) -> None:
    tuning = tuning_for(target)
    attention = {"HEADS": 8, "WIDTH": 128, "COLUMNS": 128, "ROWS": tuning.query_rows}
    attention |= {"BLOCK": triton_attention.block_of(tuning.keys_bytes, 128, 2)}
    compiled(triton_conformer._attend_blocks, target, dtype, attention, num_warps=tuning.query_warps)
    sizes = {"TAPS": 15, "FRAMES": tuning.convolved_frames, "CHANNELS": tuning.convolved_channels}
    sizes |= {"STEP": tuning.convolved_step, "EDGE_STEP": triton_conformer.EDGE_STEP}
    compiled(triton_conformer._convolve, target, dtype, sizes, num_warps=tuning.convolved_warps)
    compiled(triton_conformer._gate, target, dtype, {"BLOCK": triton_conformer.GATED_BLOCK})
    for features, (added, stored) in product((1024, 2048), ((False, False), (True, False), (True, True))):
        switches = {"ADDED": added, "STORED": stored, "BLOCK": features}
        compiled(triton_conformer._add_and_norm, target, dtype, switches, num_warps=tuning.norm_warps)
