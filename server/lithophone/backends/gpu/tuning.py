"""Sizes at which the Triton kernels are compiled, for each kind of GPU.

For AMD they are the largest at which Triton's compiler spills no registers of an RDNA 3.5 (tests/backends/gpu/test_compiles.py);
for NVIDIA they were measured on an H200 (`python -m tests.hardware.products`; docs/hardware).
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Tile(NamedTuple):
    """What one program of a product reads of the matrix at a time, and how.

    Attributes:
        outputs: Rows of the matrix.
        features: Of each; they have to divide all of its features.
        stages: Reads under way.
        warps: Groups of threads.
    """

    outputs: int
    features: int
    stages: int
    warps: int


class Tuning(NamedTuple):
    """Of one kind of GPU.

    Attributes:
        keys_bytes: Of keys that a program of attention looks at at a time.
        normed: Tile of normed products.
        gated: Tile of normed and gated products; each program reads two such.
        most_tokens: Up to which these are faster than the library's products between kernels of their own.
    """

    keys_bytes: int
    normed: Tile
    gated: Tile
    most_tokens: int


NVIDIA: Final = Tuning(keys_bytes=8192, normed=Tile(32, 128, 6, 4), gated=Tile(32, 128, 4, 4), most_tokens=64)
AMD: Final = Tuning(keys_bytes=4096, normed=Tile(16, 128, 4, 4), gated=Tile(16, 128, 4, 4), most_tokens=16)
