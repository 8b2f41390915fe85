"""Sizes at which the Triton kernels are compiled, for each kind of GPU.

For AMD they are such that Triton's compiler spills no registers of an RDNA 3.5 (tests/backends/gpu/test_compiles.py); for
NVIDIA they were measured on an H200 (`python -m tests.hardware.products`; docs/hardware).
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Tile(NamedTuple):
    """What one program of a product reads of the matrix at a time, and how.

    Attributes:
        outputs: Rows of the matrix.
        features: Of each; they have to divide all of its features.
        warps: Groups of threads.
    """

    outputs: int
    features: int
    warps: int


class Tuning(NamedTuple):
    """Of one kind of GPU.

    Attributes:
        keys_bytes: Of keys that a program of attention looks at at a time.
        normed: Tile of normed products.
        gated: Tile of normed and gated products; each program reads two such.
        added: Tile of products that are added to something.
        query_rows: Frames that a program of the encoder's attention looks from.
        query_warps: Groups of threads of such a program.
        most_tokens: Up to which these are faster than the library's products between kernels of their own.
    """

    keys_bytes: int
    normed: Tile
    gated: Tile
    added: Tile
    query_rows: int
    query_warps: int
    most_tokens: int

    @property
    def most_features(self) -> int:
        """Of the tiles."""
        return max(tile.features for tile in (self.normed, self.gated, self.added))


NVIDIA: Final = Tuning(
    keys_bytes=8192,
    normed=Tile(4, 1024, 4),
    gated=Tile(4, 1024, 4),
    added=Tile(4, 1024, 4),
    query_rows=64,
    query_warps=4,
    most_tokens=4,
)
AMD: Final = Tuning(
    keys_bytes=4096,
    normed=Tile(4, 512, 4),
    gated=Tile(4, 512, 4),
    added=Tile(4, 512, 4),
    query_rows=32,
    query_warps=8,
    most_tokens=4,
)
