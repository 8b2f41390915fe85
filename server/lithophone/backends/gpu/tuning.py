"""Sizes at which the Triton kernels are compiled, for each kind of GPU.

For AMD they are the largest at which Triton's compiler spills no registers of an RDNA 3.5 (tests/backends/gpu/test_compiles.py);
for NVIDIA they were measured, see docs/hardware.
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
        tile: Of products with few tokens.
        most_tokens: Up to which they are faster than the library's.
    """

    keys_bytes: int
    tile: Tile
    most_tokens: int


NVIDIA: Final = Tuning(
    keys_bytes=8192, tile=Tile(outputs=16, features=256, stages=4, warps=4), most_tokens=32
)
AMD: Final = Tuning(keys_bytes=4096, tile=Tile(outputs=16, features=128, stages=4, warps=4), most_tokens=16)
