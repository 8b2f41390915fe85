"""Ways to multiply with weights of few bits: `python -m tests.figures.small_products`.

Times torch's ways, and ours, at the shapes of 3.3-2b's linear layers, for passes of several lengths. Weights come from
memory: as many copies of each take turns as caches cannot hold. With one thread the clock is that of the processor, which
other programs do not advance; with more it is the wall's. Prints the least of the rounds, in milliseconds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from lithophone.backends.cpu.products import widened_linear
from lithophone.backends.quantization.amx import PlainInt8Linear, WidenedInt8Linear
from lithophone.backends.quantization.eight import Int8Weight, PackedInt8Linear
from lithophone.backends.quantization.four import Int4Linear, Int4Weight

SHAPES = {
    "q (2048 to 2048)": (2048, 2048),
    "k, v (2048 to 512)": (2048, 512),
    "gate, up (2048 to 8192)": (2048, 8192),
    "down (8192 to 2048)": (8192, 2048),
    "head (2048 to 49160)": (2048, 49_160),
}
ROWS = (1, 4, 16, 29, 64, 360)
ROUNDS = 4
CACHED_BYTES = 96 << 20

Way = Callable[[Tensor], Tensor]


def ways(weight: Tensor) -> Iterator[tuple[str, Callable[[], Way]]]:
    """Names, and what makes a copy of a way with weights of its own."""
    eight, halves = Int8Weight.of(weight), weight.bfloat16()
    scale = eight.scale.bfloat16()
    weight_only: Any = torch.ops.aten._weight_int8pack_mm
    yield "bf16", lambda: _with(halves, functional.linear)
    yield "bf16 widened", lambda: _with(halves, lambda rows, own: widened_linear(rows, own, None))
    yield "torch int8", lambda: _with(eight.values, lambda rows, own: weight_only(rows, own, scale))
    yield "_int_mm", lambda: _with(eight.values, _int_mm)
    yield "int8 by FBGEMM", lambda: PackedInt8Linear(eight, None)
    yield "int8 by oneDNN", lambda: PlainInt8Linear(_copied(eight), None)
    yield "int8 widened", lambda: WidenedInt8Linear(_copied(eight), None)
    if len(weight) % 64 == 0:
        yield "torch int4", lambda: _few(Int4Linear(Int4Weight.of(weight), None))
        yield "int4 widened", lambda: _many(Int4Linear(Int4Weight.of(weight), None))


def _with(weight: Tensor, product: Callable[[Tensor, Tensor], Tensor]) -> Way:
    own = weight.clone()
    return lambda rows: product(rows, own)


def _copied(weight: Int8Weight) -> Int8Weight:
    return Int8Weight(weight.values.clone(), weight.scale)


def _int_mm(rows: Tensor, values: Tensor) -> Tensor:
    return torch.ops.aten._int_mm(rows.to(torch.int8), values.t())


def _few(layer: Int4Linear) -> Way:
    layer.few_rows = max(ROWS)
    return layer


def _many(layer: Int4Linear) -> Way:
    layer.few_rows = 0
    return layer


def milliseconds(copies: list[Way], rows: Tensor, clock: Callable[[], float]) -> float:
    """Of one product."""
    began = clock()
    for copy in copies:
        copy(rows)
    return 1000 * (clock() - began) / len(copies)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--shapes", nargs="*", default=list(SHAPES))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    clock = time.thread_time if options.threads == 1 else time.perf_counter
    print(f"milliseconds, {options.threads} thread(s), torch {torch.__version__}")
    with torch.inference_mode():
        for name in options.shapes:
            inputs, outputs = SHAPES[name]
            weight = torch.randn(outputs, inputs) * 0.02
            count = max(2, -(-CACHED_BYTES // (inputs * outputs)))
            made = {way: [make() for _ in range(min(count, 8))] for way, make in ways(weight)}
            for rows in ROWS:
                given = torch.randn(rows, inputs).bfloat16()
                taken = {
                    way: min(milliseconds(copies, given, clock) for _ in range(ROUNDS))
                    for way, copies in made.items()
                }
                print(
                    f"{name}, {rows} rows: "
                    + ", ".join(f"{way} {least:.2f}" for way, least in taken.items()),
                    flush=True,
                )


if __name__ == "__main__":
    main()
