"""Which way of computing a product of one token is the fastest on the GPU at hand, measured on the model's own matrices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import structlog
import torch
from torch import Tensor

from lithophone.backends.gpu.tuning import Tile

log = structlog.get_logger(__name__)

ROUNDS: Final = 5
WORTHWHILE: Final = 0.97
"""Of the library's time: what is within the noise of it stays with the library."""

Way = Callable[[Tensor, Tile | None], object]
"""One product with a matrix; with a tile by the kernel, and without by the library."""


class Case(NamedTuple):
    """Products of one kind and shape."""

    kind: str
    outputs: int
    features: int


class Choices:
    """The tiles that were faster than the library; before anything was measured there are none."""

    def __init__(self) -> None:
        self._tiles: dict[Case, Tile] = {}

    def tile_for(self, case: Case) -> Tile | None:
        """The fastest; None where it is the library."""
        return self._tiles.get(case)

    def measure(self, kind: str, matrices: Sequence[Tensor], way: Way, tiles: Sequence[Tile]) -> None:
        """Choose for matrices of one shape, several so that none is read from a cache."""
        case = Case(kind, *matrices[0].shape)
        self._tiles.pop(case, None)
        library = _microseconds(matrices, way, None)
        found = {tile: _microseconds(matrices, way, tile) for tile in tiles}
        best = min(found, key=lambda tile: found[tile])
        chosen = found[best] < WORTHWHILE * library
        if chosen:
            self._tiles[case] = best
        log.info(
            "product_chosen",
            kind=kind,
            shape=tuple(matrices[0].shape),
            library_us=round(library, 2),
            tiles_us=[round(one, 2) for one in found.values()],
            chosen=tuple(best) if chosen else "library",
        )


def _microseconds(matrices: Sequence[Tensor], way: Way, tile: Tile | None) -> float:
    """Of one product."""
    return replayed_us([lambda matrix=matrix: way(matrix, tile) for matrix in matrices])


def replayed_us(acts: Sequence[Callable[[], object]]) -> float:
    """Microseconds of one of them in a graph of all; infinite where the compiler or the GPU refuses."""
    try:
        acts[0]()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            for act in acts:
                act()
    except Exception as error:  # noqa: BLE001 - compilers and drivers refuse in many ways, and another way serves
        log.debug("way_refused", reason=f"{type(error).__name__}: {error}")
        return float("inf")
    return min(replayed_ms(graph) for _ in range(ROUNDS)) * 1e3 / len(acts)


def replayed_ms(graph: torch.cuda.CUDAGraph) -> float:
    """Milliseconds of one replay."""
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    began.record()
    graph.replay()
    ended.record()
    torch.cuda.synchronize()
    return began.elapsed_time(ended)


def one_token(matrix: Tensor, features: int) -> Tensor:
    """[1, features] of noise, of the matrix's dtype and on its device."""
    return torch.randn(1, features, dtype=torch.float32, device=matrix.device).to(matrix.dtype)
