"""Steps of fixed shape, captured as graphs: the host starts one thing instead of hundreds.

A graph is for a number of tokens, whosever they are: one each of 32 sequences or 32 drafted ones of a single sequence are the
same pass. `torch.cuda.CUDAGraph` is CUDA's and ROCm's alike.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import structlog
import torch
from numpy.typing import NDArray
from torch import Tensor

from lithophone.backends.decoding.verdicts import Exceptions, judge
from lithophone.backends.gpu.kernels import Where

if TYPE_CHECKING:
    from lithophone.backends.gpu.passes import PagedLanguageModel

log = structlog.get_logger(__name__)

SIZES: Final = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
"""Tokens: at most half again as many as there are, and beyond the last one the products take longer than their start."""

MOST_CAPTURE_SECONDS: Final = (
    60.0  # the first time, most of it is Triton compiling; it keeps what it has compiled
)
MOST_CAPTURE_SHARE: Final = 0.05  # of the device's memory
ROUNDS_BEFORE: Final = 2  # outside of a capture: libraries load their kernels and choose


class Stepped(NamedTuple):
    """What a step left on the device: logits [tokens, vocabulary], and what `judge` found without exceptions."""

    logits: Tensor
    judged: Tensor


class _Graph(NamedTuple):
    graph: torch.cuda.CUDAGraph
    stepped: Stepped


class StepGraphs:
    """The graphs, and the memory from which they take tokens.

    Args:
        model: Whose steps.
    """

    def __init__(self, model: PagedLanguageModel) -> None:
        self._model = model
        self._captured: dict[int, _Graph] = {}
        table = model.pages.table
        cells = table.size + 3 * SIZES[-1]
        device = model.decoder.device
        self._staged = torch.zeros(cells, dtype=torch.int32, pin_memory=device.type == "cuda")
        self._received = torch.zeros(cells, dtype=torch.int32, device=device)
        self._sent_changes = -1

    def hold(self, tokens: int) -> bool:
        """There is a graph for so many."""
        return any(size >= tokens for size in self._captured)

    def size_for(self, tokens: int) -> int:
        """Of the smallest graph that takes so many."""
        return min(size for size in self._captured if size >= tokens)

    def capture(self) -> None:
        """All sizes, the largest first so that the others share its memory, while time and memory allow."""
        with torch.cuda.device(self._received.device):
            started = time.monotonic()
            torch.cuda.empty_cache()  # or the pool of the graphs takes what is free already, and nothing seems taken
            before_bytes = torch.cuda.memory_reserved()
            most_bytes = MOST_CAPTURE_SHARE * torch.cuda.mem_get_info()[1]
            pool = torch.cuda.graph_pool_handle()
            for size in reversed(SIZES):
                taken_bytes = torch.cuda.memory_reserved() - before_bytes
                if time.monotonic() - started > MOST_CAPTURE_SECONDS or taken_bytes > most_bytes:
                    log.warning("graphs_cut_short", size=size, taken_bytes=taken_bytes)
                    break
                self._captured[size] = self._capture(size, pool)
            log.info(
                "graphs_captured",
                sizes=sorted(self._captured),
                seconds=round(time.monotonic() - started, 2),
                taken_bytes=torch.cuda.memory_reserved() - before_bytes,
            )

    def replay(self, packed: NDArray[np.int32]) -> Stepped:
        """One step over tokens, slots and positions [3, tokens]."""
        count = packed.shape[1]
        size = self.size_for(count)
        self._send(packed, size)
        captured = self._captured[size]
        captured.graph.replay()
        return Stepped(captured.stepped.logits[:count], captured.stepped.judged[:, :count])

    def _capture(self, size: int, pool: Any) -> _Graph:
        self._send(np.zeros((3, 0), dtype=np.int32), size)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(ROUNDS_BEFORE):
                self._step(size)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            stepped = self._step(size)
        return _Graph(graph, stepped)

    def _step(self, size: int) -> Stepped:
        table = self._model.pages.table
        rows = self._received[table.size : table.size + 3 * size].view(3, size)
        where = Where(
            rows[1],
            rows[2],
            self._received[: table.size].view(table.shape),
            self._model.decoder.rotation,
        )
        logits = self._model.step(rows[0], where)
        return Stepped(logits, judge(logits, Exceptions(), frozenset(), settle_ties=False))

    def _send(self, packed: NDArray[np.int32], size: int) -> None:
        """One copy: tokens, padded, and the table before them if it has changed."""
        pages = self._model.pages
        staged = self._staged.numpy()
        cells = pages.table.size
        padded = staged[cells : cells + 3 * size].reshape(3, size)
        padded[0], padded[1], padded[2] = 0, pages.padding_slot, 0
        padded[:, : packed.shape[1]] = packed
        start = cells
        if self._sent_changes != pages.changes:
            staged[:cells] = pages.table.ravel()
            self._sent_changes, start = pages.changes, 0
        end = cells + 3 * size
        self._received[start:end].copy_(self._staged[start:end], non_blocking=True)
