"""Sizes at which the Triton kernels are compiled, for each kind of GPU.

Where the best one is not known beforehand there are several, and the fastest is chosen on the GPU at hand (see `choosing`). For
AMD they are such that Triton's compiler spills no registers of an RDNA 3.5 (tests/backends/gpu/test_compiles.py).
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Tile(NamedTuple):
    """How a product of one token is divided among programs.

    Attributes:
        outputs: Rows of the matrix that a program reads at a time.
        features: Of each at a time; a normed product reads all.
        warps: Groups of threads of a program.
        stages: Reads under way.
        programs: At most; each goes on with other rows.
    """

    outputs: int
    features: int
    warps: int
    stages: int
    programs: int = 1 << 20


class Tuning(NamedTuple):
    """Of one kind of GPU.

    Attributes:
        keys_bytes: Of keys that a program of attention looks at at a time.
        query_tokens: From how many tokens of a sequence a program of attention looks at most.
        normed: Tiles of normed products, gated or not.
        added: Tiles of products that are added to something.
        query_rows: Frames that a program of the encoder's attention looks from.
        query_warps: Groups of threads of such a program.
        norm_warps: Groups of threads of a program of the encoder's layer norms, which computes one frame.
        convolved_frames: Frames that a program of the encoder's convolution computes.
        convolved_step: Of these, those it computes at a time, inside one clip.
        convolved_channels: Channels that it computes of each.
        convolved_warps: Groups of threads of such a program.
    """

    keys_bytes: int
    query_tokens: int
    normed: tuple[Tile, ...]
    added: tuple[Tile, ...]
    query_rows: int
    query_warps: int
    norm_warps: int
    convolved_frames: int
    convolved_step: int
    convolved_channels: int
    convolved_warps: int


NVIDIA: Final = Tuning(
    keys_bytes=8192,
    query_tokens=4,
    normed=(Tile(4, 0, 4, 2, 528), Tile(2, 0, 4, 3, 528), Tile(4, 0, 8, 2, 264), Tile(4, 0, 4, 1)),
    added=(Tile(4, 1024, 4, 1), Tile(2, 1024, 2, 1), Tile(4, 1024, 4, 3), Tile(2, 2048, 4, 3)),
    query_rows=64,
    query_warps=4,
    norm_warps=2,
    convolved_frames=16,
    convolved_step=8,
    convolved_channels=256,
    convolved_warps=2,
)
AMD: Final = Tuning(
    keys_bytes=4096,
    query_tokens=8,
    normed=(Tile(2, 0, 4, 1, 320), Tile(4, 0, 8, 1, 160), Tile(2, 0, 4, 1)),
    added=(Tile(4, 512, 4, 1), Tile(2, 1024, 4, 1)),
    query_rows=32,
    query_warps=8,
    norm_warps=4,
    convolved_frames=32,
    convolved_step=8,
    convolved_channels=256,
    convolved_warps=4,
)
