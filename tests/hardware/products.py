"""Products of a few tokens on this GPU, with what belongs to them, by torch and by Triton: how `tuning.py` came about.

    PYTHONPATH=server:clients python -m tests.hardware.products

Each time is of one product in a graph of forty over different matrices.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from lithophone.backends.gpu import triton_products as products
from lithophone.backends.gpu.triton_kernels import TritonKernels
from lithophone.backends.gpu.tuning import NVIDIA, Tile
from tests.hardware.page import Page

MATRICES = 40
ROUNDS = 5
TOKENS = (1, 2, 4, 16, 64)
MOST_TOKENS = 4
TILES = tuple(
    Tile(*sizes)
    for sizes in (
        (1, 2048, 4),
        (2, 2048, 4),
        (2, 1024, 2),
        (4, 512, 2),
        (4, 1024, 4),
        (4, 2048, 8),
        (8, 256, 4),
        (8, 512, 4),
        (8, 1024, 8),
        (16, 256, 4),
        (16, 512, 8),
    )
)
KERNELS = TritonKernels(NVIDIA._replace(most_tokens=0))
EPSILON = 1e-5

Way = Callable[[Tensor, Tensor, Tensor], Tensor]
"""The product of hidden states and a matrix with what belongs to it; the third is the weight of a norm."""


class Shape(NamedTuple):
    """A matrix of granite-speech-3.3-2b, [outputs, features]."""

    name: str
    outputs: int
    features: int


SHAPES = (
    Shape("queries, keys, values: normed", 3072, 2048),
    Shape("attention's output: added", 2048, 2048),
    Shape("gate and up: normed, gated", 16384, 2048),
    Shape("down: added", 2048, 8192),
    Shape("head", 49159, 2048),
)


def main() -> int:
    """Print the page."""
    page = Page(most_seconds=float(sys.argv[1]) if len(sys.argv) > 1 else 240.0)
    for shape in SHAPES:
        page.section(f"{shape.name}: {shape.outputs} x {shape.features}", lambda s=shape: one_shape(page, s))
    return page.end()


def one_shape(page: Page, shape: Shape) -> None:
    """Microseconds of a product with what belongs to it, ways by numbers of tokens."""
    matrices = [
        (torch.randn(shape.outputs, shape.features, device="cuda") * 0.02).bfloat16()
        for _ in range(MATRICES if shape.name != "head" else 4)
    ]
    page.say(f"{matrices[0].nbytes / 1e6:.1f} MB\n")
    ways: list[tuple[str, Way]] = [("torch, and kernels around it", kept_apart(shape))]
    if shape.name != "head":
        ways += [("tile {}, {}, {}".format(*tile), within(tile, shape)) for tile in TILES]
    if shape.name == "head":
        ways.append(
            ("float32 sums", lambda hidden, matrix, _: torch.mm(hidden, matrix.t(), out_dtype=torch.float32))
        )
    rows: list[tuple[object, ...]] = []
    for name, way in ways:
        try:
            taken = TOKENS if "tile" not in name else [one for one in TOKENS if one <= MOST_TOKENS]
            found = [microseconds(matrices, tokens, way, ways[0][1]) for tokens in taken]
            rows.append((name, *found, *[""] * (len(TOKENS) - len(found))))
        except Exception as error:  # noqa: BLE001 - a tile too large for this GPU is a result
            rows.append((name, f"{type(error).__name__}: {error}"[:80]))
    page.table(("us", *map(str, TOKENS)), rows)


def kept_apart(shape: Shape) -> Way:
    """The library's product and kernels before and behind it."""
    if "gated" in shape.name:
        return lambda hidden, matrix, norm: KERNELS.normed_gated_product(hidden, norm, EPSILON, matrix)
    if "normed" in shape.name:
        return lambda hidden, matrix, norm: KERNELS.normed_product(hidden, norm, EPSILON, matrix)
    if "added" in shape.name:
        into = torch.zeros(max(TOKENS), shape.outputs, device="cuda", dtype=torch.bfloat16)
        return lambda hidden, matrix, _: into[: len(hidden)].addmm_(hidden, matrix.t(), alpha=0.22)
    return lambda hidden, matrix, _: functional.linear(hidden, matrix)


def within(tile: Tile, shape: Shape) -> Way:
    """The Triton kernel with a tile."""
    if "added" in shape.name:
        into = torch.zeros(max(TOKENS), shape.outputs, device="cuda", dtype=torch.bfloat16)

        def add(hidden: Tensor, matrix: Tensor, _: Tensor) -> Tensor:
            products.add_product(into[: len(hidden)], hidden, matrix, 0.22, tile)
            return into[: len(hidden)]

        return add
    gated = "gated" in shape.name
    return lambda hidden, matrix, norm: products.normed_product(
        hidden, norm, EPSILON, matrix, tile, gated=gated
    )


def microseconds(matrices: list[Tensor], tokens: int, way: Way, right: Way) -> float:
    """Of one product, the least of some rounds."""
    features = matrices[0].shape[1]
    hidden = torch.randn(tokens, features, device="cuda").bfloat16()
    norm = torch.randn(features, device="cuda").bfloat16()
    if way is not right and way.__name__ != "add":
        found = way(hidden, matrices[0], norm).float()
        torch.testing.assert_close(found, right(hidden, matrices[0], norm).float(), atol=4e-2, rtol=4e-2)
    way(hidden, matrices[0], norm)
    graph: Any = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for matrix in matrices:
            way(hidden, matrix, norm)
    times: list[float] = []
    for _ in range(ROUNDS + 1):
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        began.record()
        graph.replay()
        ended.record()
        torch.cuda.synchronize()
        times.append(began.elapsed_time(ended))
    return min(times[1:]) * 1e3 / len(matrices)


if __name__ == "__main__":
    sys.exit(main())
