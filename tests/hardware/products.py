"""Products of a few tokens on this GPU: torch's, and the Triton kernel's with several tiles; how `tuning.py` came about.

    PYTHONPATH=server:clients python -m tests.hardware.products

Each time is of one product in a graph of forty over different matrices, as they stand in a step of decoding.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from lithophone.backends.gpu import triton_products as products
from lithophone.backends.gpu.tuning import Tile
from tests.hardware.page import Page

MATRICES = 40
ROUNDS = 5
TOKENS = (1, 4, 16, 32, 64)
TILES = tuple(
    Tile(*sizes)
    for sizes in (
        (16, 256, 4, 4),
        (16, 256, 5, 2),
        (16, 512, 3, 4),
        (16, 512, 4, 8),
        (16, 128, 8, 4),
        (32, 256, 3, 4),
        (32, 256, 4, 8),
        (32, 128, 6, 4),
        (64, 128, 4, 4),
        (64, 256, 3, 8),
    )
)


class Shape(NamedTuple):
    """A matrix of granite-speech-3.3-2b, [outputs, features]."""

    name: str
    outputs: int
    features: int


SHAPES = (
    Shape("queries, keys, values", 3072, 2048),
    Shape("attention's output", 2048, 2048),
    Shape("gate and up", 16384, 2048),
    Shape("down", 2048, 8192),
)


def main() -> int:
    """Print the page."""
    page = Page(most_seconds=float(sys.argv[1]) if len(sys.argv) > 1 else 240.0)
    for shape in SHAPES:
        page.section(f"{shape.name}: {shape.outputs} x {shape.features}", lambda s=shape: one_shape(page, s))
    return page.end()


def one_shape(page: Page, shape: Shape) -> None:
    """Microseconds of a product, ways by numbers of tokens."""
    matrices = [
        (torch.randn(shape.outputs, shape.features, device="cuda") * 0.02).bfloat16() for _ in range(MATRICES)
    ]
    rows: list[tuple[object, ...]] = [
        ("torch", *(microseconds(matrices, tokens, functional.linear) for tokens in TOKENS))
    ]
    for tile in TILES:
        name = "tile {}, {}, {}, {}".format(*tile)
        try:
            rows.append((name, *(microseconds(matrices, tokens, thin(tile)) for tokens in TOKENS)))
        except Exception as error:  # noqa: BLE001 - a tile too large for this GPU is a result
            rows.append((name, f"{type(error).__name__}: {error}"[:80]))
    page.say(f"{matrices[0].nbytes / 1e6:.1f} MB\n")
    page.table(("us", *map(str, TOKENS)), rows)


def thin(tile: Tile) -> Callable[[Tensor, Tensor], Tensor]:
    """The Triton kernel with a tile."""
    return lambda hidden, weight: products.thin_product(hidden, weight, tile)


def microseconds(matrices: list[Tensor], tokens: int, product: Callable[[Tensor, Tensor], Tensor]) -> float:
    """Of one product, the least of some rounds."""
    hidden = torch.randn(tokens, matrices[0].shape[1], device="cuda").bfloat16()
    close = functional.linear(hidden, matrices[0])
    torch.testing.assert_close(product(hidden, matrices[0]), close, atol=2e-2, rtol=2e-2)
    graph: Any = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for matrix in matrices:
            product(hidden, matrix)
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
