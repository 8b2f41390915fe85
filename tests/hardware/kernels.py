"""What the kernels take at each of their sizes on this GPU, beside torch's operations: what `tuning` is chosen by

    PYTHONPATH=server:clients python -m tests.hardware.kernels --only attention

In bfloat16, at the shape of 3.3-2b. Times are of one call in a graph of several, which read from other memory each.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from lithophone.backends.decoding.encoder import PackedClips
from lithophone.backends.gpu import triton_conformer as conformer
from lithophone.backends.gpu.choosing import replayed_us
from lithophone.backends.gpu.conformer import Norm
from lithophone.backends.gpu.kernels import Heads, Layer, Pages, Where
from lithophone.backends.gpu.opening import tuning
from lithophone.backends.gpu.pages import PAGE_POSITIONS
from lithophone.backends.gpu.triton_attention import Division, attend
from lithophone.backends.gpu.triton_kernels import TritonKernels
from tests.hardware.page import Page

CLIPS, CLIP_FRAMES, CONTEXT = 16, 1500, 200
FRAMES, HIDDEN, CHANNELS, TAPS = CLIPS * CLIP_FRAMES, 1024, 2048, 15
ENCODER_HEADS = Heads(8, 8, 128, 128**-0.5)
TEXT_HEADS = Heads(32, 8, 64, 1 / 64)
CACHED, SEQUENCES = 480, 64
LAYERS = 4
DEPTH = 16
OUTPUTS, BETWEEN = 2048, 8192
MOST_PROGRAMS = 1 << 14


class Timing(NamedTuple):
    """One way of computing something, and the bytes it has to move."""

    way: str
    act: Callable[[int], object]
    moved_bytes: int
    numbers: int = LAYERS


def main() -> int:
    """Print the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="sections whose title has this in it")
    page = Page(most_seconds=300.0, only=parser.parse_args().only)
    page.say(f"{torch.cuda.get_device_name()}, torch {torch.__version__}; chosen now: {tuning()}")
    sections: dict[str, Callable[[], Iterator[Timing]]] = {
        "layers of the language model": layers,
        "attention over pages": pages_attention,
        "layer norms": layer_norms,
        "gates": gates,
        "convolution": convolutions,
        "attention of the encoder": encoder_attention,
    }
    with torch.inference_mode():
        for title, timings in sections.items():
            page.section(title, lambda act=timings: told(page, act()))
    return page.end()


def told(page: Page, timings: Iterator[Timing]) -> None:
    """A table of them; of one that is refused the log says why above it."""
    rows: list[tuple[object, ...]] = []
    for timing in timings:
        found = replayed_us([partial(timing.act, number) for number in range(timing.numbers)])
        rows.append((timing.way, found, timing.moved_bytes / found / 1e6))
    page.table(("way", "us", "TB/s of what it has to move"), rows)


def noise(*shape: int) -> list[Tensor]:
    """One for each layer."""
    return [torch.randn(shape, device="cuda").bfloat16() for _ in range(LAYERS)]


def layers() -> Iterator[Timing]:
    """Whole ones one behind the other, whose kernels begin one by one or overlap."""
    own = [layer_of_noise() for _ in range(DEPTH)]
    slot_pages = CACHED // PAGE_POSITIONS + 2
    shape = (1 + SEQUENCES * slot_pages, PAGE_POSITIONS, TEXT_HEADS.keys, TEXT_HEADS.width)
    pool = [Pages(*(torch.zeros(shape, device="cuda").bfloat16() for _ in Pages._fields)) for _ in own]
    table = 1 + torch.arange(SEQUENCES * slot_pages, device="cuda").int().view(SEQUENCES, slot_pages)
    rotation = torch.randn(CACHED + 2, TEXT_HEADS.width, device="cuda")
    moved = sum(part.nbytes for part in own[0])
    for overlaps in (False, True):
        kernels = TritonKernels(tuning(), overlaps=overlaps)
        kernels.tune(own)
        kernels._overlaps = overlaps  # whichever was the faster
        for tokens in (1, 4, 16, 64):
            slots = torch.arange(tokens, device="cuda").int()
            where = Where(slots, torch.full_like(slots, CACHED), table, rotation)
            (hidden, *_) = noise(tokens, OUTPUTS)
            yield Timing(
                f"{tokens} tokens, {'overlapping' if overlaps else 'one by one'}",
                lambda number, kernels=kernels, where=where, hidden=hidden: a_layer(
                    kernels, own[number], pool[number], where, hidden
                ),
                moved,
                DEPTH,
            )


def layer_of_noise() -> Layer:
    """Of the shape of 3.3-2b."""
    queries = TEXT_HEADS.queries * TEXT_HEADS.width
    both = 2 * TEXT_HEADS.keys * TEXT_HEADS.width
    shapes = ((queries + both, OUTPUTS), (OUTPUTS, queries), (2 * BETWEEN, OUTPUTS), (OUTPUTS, BETWEEN))
    project, combine, gate_and_up, down = (
        torch.randn(shape, device="cuda").mul(shape[1] ** -0.5).bfloat16() for shape in shapes
    )
    ones = torch.ones(OUTPUTS, device="cuda").bfloat16()
    return Layer(ones, project, combine, ones, gate_and_up, down)


def a_layer(kernels: TritonKernels, layer: Layer, pages: Pages, where: Where, hidden: Tensor) -> None:
    """As `PagedDecoder` has it; `hidden` becomes what comes out."""
    projected = kernels.normed_product(hidden, layer.first_norm, 1e-5, layer.project)
    kernels.rotate_and_store(projected, where, pages, TEXT_HEADS)
    attended = kernels.attend(projected, where, pages, TEXT_HEADS)
    kernels.add_product(hidden, attended, layer.combine, 0.22)
    gated = kernels.normed_gated_product(hidden, layer.second_norm, 1e-5, layer.gate_and_up)
    kernels.add_product(hidden, gated, layer.down, 0.22)


def pages_attention() -> Iterator[Timing]:
    """Of sequences with drafts and without, by how it is divided among programs."""
    slot_pages = CACHED // PAGE_POSITIONS + 2
    shape = (1 + SEQUENCES * slot_pages, PAGE_POSITIONS, TEXT_HEADS.keys, TEXT_HEADS.width)
    pool = [Pages(*pair) for pair in zip(noise(*shape), noise(*shape), strict=True)]
    table = 1 + torch.arange(SEQUENCES * slot_pages, device="cuda").int().view(SEQUENCES, slot_pages)
    for sequences, drafted in (
        (1, 0),
        (1, 7),
        (1, 31),
        (8, 0),
        (8, 15),
        (32, 0),
        (64, 0),
        (64, 1),
        (64, 7),
        (64, 24),
    ):
        count = 1 + drafted
        slots = torch.arange(sequences, device="cuda").repeat_interleave(count).int()
        positions = (CACHED + torch.arange(count, device="cuda")).repeat(sequences).int()
        where = Where(slots, positions, table, torch.zeros(1, TEXT_HEADS.width, device="cuda"))
        (projected, *_) = noise(len(slots), (TEXT_HEADS.queries + 2 * TEXT_HEADS.keys) * TEXT_HEADS.width)
        chosen = Division.of(len(slots), TEXT_HEADS.keys, tuning().query_tokens)
        moved = 2 * sequences * (CACHED + count) * TEXT_HEADS.keys * TEXT_HEADS.width * 2
        for group, splits in product((1, 4, 8), (1, 2, 4, 8, 16)):
            if len(slots) * TEXT_HEADS.keys * splits > MOST_PROGRAMS:
                continue
            division = Division(group, splits)
            way = f"{sequences} sequences, {drafted} drafted, {division}{' (chosen)' * (division == chosen)}"
            yield Timing(way, attention_in(projected, where, pool, division), moved)


def attention_in(
    projected: Tensor, where: Where, pool: Sequence[Pages], division: Division
) -> Callable[[int], object]:
    """Attention of one layer."""
    return lambda layer: attend(projected, where, pool[layer], TEXT_HEADS, tuning().keys_bytes, division)


def layer_norms() -> Iterator[Timing]:
    """Of a sum and without one."""
    hidden, delta, totals = (noise(FRAMES, HIDDEN) for _ in range(3))
    (weight, bias, *_) = noise(HIDDEN)
    norm = Norm(weight, bias, 1e-5)
    size = hidden[0].nbytes

    def library(rows: Tensor) -> Tensor:
        return functional.layer_norm(rows, (HIDDEN,), weight, bias, norm.epsilon)

    yield Timing("torch, norm", lambda layer: library(hidden[layer]), 2 * size)
    yield Timing(
        "torch, sum and norm",
        lambda layer: library(torch.add(hidden[layer], delta[layer], alpha=0.5)),
        4 * size,
    )
    for warps in (1, 2, 4, 8):
        yield Timing(
            f"norm, {warps} warps",
            lambda layer, warps=warps: conformer.layer_norm(hidden[layer], None, None, 1.0, norm, warps),
            2 * size,
        )
        yield Timing(
            f"sum and norm, {warps} warps",
            lambda layer, warps=warps: conformer.layer_norm(
                hidden[layer], delta[layer], totals[layer], 0.5, norm, warps
            ),
            4 * size,
        )


def gates() -> Iterator[Timing]:
    """GLU."""
    both = noise(FRAMES, 2 * CHANNELS)
    moved = both[0].nbytes * 3 // 2
    yield Timing("torch", lambda layer: functional.glu(both[layer], dim=-1), moved)
    yield Timing("ours", lambda layer: conformer.gate(both[layer]), moved)


def convolutions() -> Iterator[Timing]:
    """Of clips of 30 s, and of short ones with many edges."""
    gated = noise(FRAMES, CHANNELS)
    (weight, *_), (bias, *_) = noise(TAPS, CHANNELS), noise(CHANNELS)
    sizes = [
        (frames, channels, warps, step)
        for frames, (channels, warps), step in product((16, 32), ((128, 2), (256, 4), (256, 2)), (4, 8))
    ]
    for clip_frames in (CLIP_FRAMES, 60):
        index = PackedClips(
            [clip_frames] * (FRAMES // clip_frames), CONTEXT, TAPS // 2, gated[0].device
        ).gapped_index
        for frames, channels, warps, step in sizes if clip_frames == CLIP_FRAMES else sizes[1::2]:
            yield Timing(
                f"clips of {clip_frames}: {frames} frames, {channels} channels, {warps} warps, step {step}",
                lambda layer, index=index, frames=frames, channels=channels, warps=warps, step=step: (
                    conformer.convolve(
                        gated[layer],
                        index,
                        weight,
                        bias,
                        tile_frames=frames,
                        tile_channels=channels,
                        step=step,
                        warps=warps,
                    )
                ),
                2 * gated[0].nbytes,
            )


def encoder_attention() -> Iterator[Timing]:
    """In blocks, with the bias of distances."""
    width = ENCODER_HEADS.queries * ENCODER_HEADS.width
    queries, keys_and_values = noise(FRAMES, width), noise(FRAMES, 2 * width)
    distances = 2 * CONTEXT - 1
    biases = noise(FRAMES, ENCODER_HEADS.queries, distances + -distances % 8)
    places = PackedClips([CLIP_FRAMES] * CLIPS, CONTEXT, TAPS // 2, queries[0].device).block_places
    moved = queries[0].nbytes * 4 + FRAMES * ENCODER_HEADS.queries * CONTEXT * 2
    for rows, warps, keys_bytes in product((32, 64, 128), (4, 8), (8192, 16384)):
        yield Timing(
            f"{rows} rows, {warps} warps, {keys_bytes} bytes of keys",
            lambda layer, rows=rows, warps=warps, keys_bytes=keys_bytes: conformer.attend_blocks(
                queries[layer],
                keys_and_values[layer],
                biases[layer][..., :distances],
                places,
                ENCODER_HEADS,
                rows=rows,
                keys_bytes=keys_bytes,
                warps=warps,
            ),
            moved,
        )


if __name__ == "__main__":
    sys.exit(main())
