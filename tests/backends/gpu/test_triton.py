"""The Triton kernels against plain operations, by Triton's interpreter. Needs Triton, which a CPU build of torch lacks:
`pip install triton` and `TRITON_INTERPRET=1` (the interpreter has no bfloat16 products); on a GPU, nothing more."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch

pytest.importorskip("triton")
if not torch.cuda.is_available() and os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("no GPU, and TRITON_INTERPRET=1 is not set", allow_module_level=True)

from torch.nn import functional
from transformers.models.granite_speech.configuration_granite_speech import GraniteSpeechEncoderConfig
from transformers.models.granite_speech.modeling_granite_speech import GraniteSpeechCTCEncoder

from lithophone.backends.decoding.encoder import ConformerLayer, PackedClips
from lithophone.backends.gpu import triton_products as products
from lithophone.backends.gpu.conformer import Norm, kernel_layers
from lithophone.backends.gpu.kernels import Heads, Layer, Pages, Where
from lithophone.backends.gpu.pages import PAGE_POSITIONS
from lithophone.backends.gpu.prompts import Begun, OneByOne, Together, bounds_of, prompt_attention
from lithophone.backends.gpu.triton_attention import Division, attend
from lithophone.backends.gpu.triton_conformer import TritonConformerKernels
from lithophone.backends.gpu.triton_kernels import TritonKernels
from lithophone.backends.gpu.triton_overlap import can_overlap
from lithophone.backends.gpu.tuning import AMD, NVIDIA
from tests.backends.gpu.plain_kernels import PlainKernels

TUNING = AMD if torch.version.hip else NVIDIA
CONFORMER = TritonConformerKernels(TUNING)
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
OVERLAPS = can_overlap(torch.device(DEVICE))
KERNELS = TritonKernels(TUNING, overlaps=OVERLAPS)
DTYPES = [torch.float32, torch.float16, *([torch.bfloat16] if DEVICE == "cuda" else [])]
TOLERANCE = {torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 4e-2}
HEADS = [
    Heads(8, 2, 32, 0.1),
    Heads(4, 4, 16, 0.25),
    Heads(32, 8, 64, 0.015625),
    Heads(6, 2, 128, 0.09),
    Heads(4, 2, 48, 0.1),
]
SLOTS, SLOT_PAGES, PAGES = 4, 3, 16
TOKENS = [(0, 5), (1, 63), (1, 64), (1, 65), (2, 130), (3, 0), (3, 191)]


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    bound = TOLERANCE[found.dtype]
    torch.testing.assert_close(found, expected, atol=bound, rtol=bound)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("features", [48, 96, 1024, 1500])
def test_norm_and_gate(dtype: torch.dtype, features: int) -> None:
    torch.manual_seed(features)
    rows = torch.randn(5, features, dtype=dtype, device=DEVICE)
    weight = torch.randn(features, dtype=dtype, device=DEVICE)
    close(KERNELS.rms_norm(rows, weight, 1e-5), PlainKernels().rms_norm(rows, weight, 1e-5))
    close(KERNELS.gated(rows), PlainKernels().gated(rows))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("heads", HEADS, ids=str)
def test_rotation_pages_and_attention(dtype: torch.dtype, heads: Heads) -> None:
    torch.manual_seed(heads.width)
    shape = (PAGES, PAGE_POSITIONS, heads.keys, heads.width)
    slots, positions = (
        torch.tensor(part, dtype=torch.int32, device=DEVICE) for part in zip(*TOKENS, strict=True)
    )
    where = Where(
        slots,
        positions,
        torch.randperm(PAGES)[: SLOTS * SLOT_PAGES].view(SLOTS, SLOT_PAGES).int().to(DEVICE),
        torch.randn(SLOT_PAGES * PAGE_POSITIONS, heads.width, device=DEVICE),
    )
    keys, values = (torch.randn(shape, dtype=dtype, device=DEVICE) for _ in range(2))
    features = (heads.queries + 2 * heads.keys) * heads.width
    projected = torch.randn(len(TOKENS), features, dtype=dtype, device=DEVICE)
    found, expected = projected.clone(), projected.clone()
    pages, plain = (Pages(keys.clone(), values.clone()) for _ in range(2))
    KERNELS.rotate_and_store(found, where, pages, heads)
    PlainKernels().rotate_and_store(expected, where, plain, heads)
    close(found, expected)
    close(pages.keys, plain.keys)
    close(pages.values, plain.values)
    close(
        KERNELS.attend(found, where, pages, heads),
        PlainKernels().attend(found, where, pages, heads),
    )


RUNS = [
    (
        (0, 60, 9),
        (1, 0, 1),
        (2, 127, 30),
        (3, 5, 3),
        (3, 8, 2),
    ),  # the last one goes on where the one before it ended
    ((2, 0, 1), (1, 191, 1), (0, 63, 2)),
    ((1, 100, 40),),
    ((0, 0, 1), (0, 0, 1), (0, 0, 1)),  # padding
]
"""Tokens of some sequences: slot, first position, how many."""


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    "division", [Division(1, 1), Division(4, 1), Division(4, 4), Division(16, 2)], ids=str
)
@pytest.mark.parametrize(
    "heads", [Heads(8, 2, 32, 0.1), Heads(6, 2, 48, 0.09), Heads(4, 4, 16, 0.25)], ids=str
)
@pytest.mark.parametrize("runs", RUNS, ids=str)
def test_drafted_tokens_share_the_keys_they_read(
    dtype: torch.dtype, division: Division, heads: Heads, runs: tuple[tuple[int, int, int], ...]
) -> None:
    torch.manual_seed(len(runs))
    shape = (PAGES, PAGE_POSITIONS, heads.keys, heads.width)
    pages = Pages(*(torch.randn(shape, dtype=dtype, device=DEVICE) for _ in Pages._fields))
    tokens = [(slot, first + more) for slot, first, count in runs for more in range(count)]
    slots, positions = (
        torch.tensor(part, dtype=torch.int32, device=DEVICE) for part in zip(*tokens, strict=True)
    )
    table = torch.randperm(PAGES)[: SLOTS * SLOT_PAGES].view(SLOTS, SLOT_PAGES).int().to(DEVICE)
    where = Where(slots, positions, table, torch.zeros(1, heads.width, device=DEVICE))
    features = (heads.queries + 2 * heads.keys) * heads.width
    projected = torch.randn(len(tokens), features, dtype=dtype, device=DEVICE)
    found = attend(projected, where, pages, heads, TUNING.keys_bytes, division, overlaps=OVERLAPS)
    close(found, PlainKernels().attend(projected, where, pages, heads))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("features", [96, 1024, 1536])
def test_products_of_one_token(dtype: torch.dtype, features: int) -> None:
    torch.manual_seed(features)
    outputs = 102
    hidden = torch.randn(1, features, dtype=dtype, device=DEVICE)
    norm = torch.randn(features, dtype=dtype, device=DEVICE)
    weight = (torch.randn(outputs, features, device=DEVICE) * features**-0.5).to(dtype)
    before = torch.randn(1, outputs, dtype=dtype, device=DEVICE)
    plain = PlainKernels()
    for tile in TUNING.normed:
        tile = tile._replace(programs=min(tile.programs, 7))  # noqa: PLW2901 - so that each goes on with other rows
        found = products.normed_product(hidden, norm, 1e-5, weight, tile, gated=False, overlaps=OVERLAPS)
        close(found, plain.normed_product(hidden, norm, 1e-5, weight))
        found = products.normed_product(hidden, norm, 1e-5, weight, tile, gated=True, overlaps=OVERLAPS)
        close(found, plain.normed_gated_product(hidden, norm, 1e-5, weight))
    for tile in TUNING.added:
        one, other = before.clone(), before.clone()
        products.add_product(one, hidden, weight, 0.22, tile, overlaps=OVERLAPS)
        plain.add_product(other, hidden, weight, 0.22)
        close(one, other)


@pytest.mark.skipif(DEVICE == "cpu", reason="measures a GPU")
@pytest.mark.parametrize("tokens", [1, 3])
def test_what_is_chosen_computes_the_same(tokens: int) -> None:
    torch.manual_seed(tokens)
    layers = [random_layer(256, 1024) for _ in range(2)]
    kernels, plain = TritonKernels(TUNING, overlaps=OVERLAPS), PlainKernels()
    kernels.tune(layers)
    hidden = torch.randn(tokens, 256, device=DEVICE).bfloat16()
    norm, project = layers[0].first_norm, layers[0].project
    close(
        kernels.normed_product(hidden, norm, 1e-5, project), plain.normed_product(hidden, norm, 1e-5, project)
    )


@pytest.mark.skipif(not OVERLAPS, reason="needs a GPU whose kernels may overlap")
def test_kernels_that_overlap_wait_for_each_other() -> None:
    """A step of eight layers, again and again as a graph: to the last bit what kernels say that begin one by one."""
    torch.manual_seed(0)
    heads = Heads(32, 8, 64, 1 / 64)
    layers = [random_layer(2048, 8192, projected=3072) for _ in range(8)]
    slots, positions = (torch.full((1,), at, dtype=torch.int32, device=DEVICE) for at in (0, 150))
    table = torch.arange(SLOT_PAGES, device=DEVICE).int().view(1, SLOT_PAGES)
    where = Where(slots, positions, table, torch.randn(SLOT_PAGES * PAGE_POSITIONS, 64, device=DEVICE))
    shape = (SLOT_PAGES, PAGE_POSITIONS, heads.keys, heads.width)
    pages = [Pages(*(torch.randn(shape, device=DEVICE).bfloat16() for _ in Pages._fields)) for _ in layers]
    begun = torch.randn(1, 2048, device=DEVICE).bfloat16()

    def step(*, overlaps: bool) -> torch.Tensor:
        hidden, kernels = begun.clone(), TritonKernels(TUNING, overlaps=overlaps)
        normed, added = TUNING.normed[0], TUNING.added[0]
        for layer, its_pages in zip(layers, pages, strict=True):
            projected = products.normed_product(
                hidden, layer.first_norm, 1e-5, layer.project, normed, gated=False, overlaps=overlaps
            )
            kernels.rotate_and_store(projected, where, its_pages, heads)
            attended = kernels.attend(projected, where, its_pages, heads)
            products.add_product(hidden, attended, layer.combine, 0.22, added, overlaps=overlaps)
            gated = products.normed_product(
                hidden, layer.second_norm, 1e-5, layer.gate_and_up, normed, gated=True, overlaps=overlaps
            )
            products.add_product(hidden, gated, layer.down, 0.22, added, overlaps=overlaps)
        return kernels.rms_norm(hidden, layers[0].first_norm, 1e-5)

    expected = step(overlaps=False)
    step(overlaps=True)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = step(overlaps=True)
    for _ in range(100):
        found.zero_()
        graph.replay()
        assert torch.equal(found, expected)


def random_layer(features: int, between: int, projected: int | None = None) -> Layer:
    def matrix(outputs: int, inputs: int) -> torch.Tensor:
        return (torch.randn(outputs, inputs, device=DEVICE) * inputs**-0.5).bfloat16()

    norm = torch.randn(features, device=DEVICE).bfloat16()
    return Layer(
        first_norm=norm,
        project=matrix(projected or features * 2, features),
        combine=matrix(features, features),
        second_norm=norm,
        gate_and_up=matrix(2 * between, features),
        down=matrix(features, between),
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("features", [48, 1024, 1500])
@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_sums_and_their_layer_norms(dtype: torch.dtype, features: int, scale: float) -> None:
    torch.manual_seed(features)
    hidden, delta = (torch.randn(5, features, device=DEVICE).mul(3).add(1).to(dtype) for _ in range(2))
    weight, bias = (torch.randn(features, device=DEVICE).to(dtype) for _ in range(2))
    norm = Norm(weight, bias, 1e-5)
    before = hidden.clone()
    total, normed = CONFORMER.add_and_norm(hidden, delta, scale, norm)
    expected = torch.add(hidden, delta, alpha=scale)
    assert torch.equal(total, expected)
    close(normed, functional.layer_norm(expected, (features,), weight, bias, 1e-5))
    assert torch.equal(CONFORMER.norm_of_sum(hidden, delta, scale, norm), normed)
    close(CONFORMER.norm(hidden, norm), functional.layer_norm(hidden, (features,), weight, bias, 1e-5))
    assert torch.equal(hidden, before)


@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
def test_what_is_normed_is_the_sum_as_it_is_stored(dtype: torch.dtype) -> None:
    """Around 200 numbers of 16 bits are an eighth apart, or one."""
    torch.manual_seed(1)
    hidden = torch.randn(5, 96, device=DEVICE).add(200).to(dtype)
    delta = torch.randn(5, 96, device=DEVICE).to(dtype)
    norm = Norm(torch.ones(96, dtype=dtype, device=DEVICE), torch.zeros(96, dtype=dtype, device=DEVICE), 1e-5)
    expected = functional.layer_norm(torch.add(hidden, delta, alpha=0.5), (96,))
    close(CONFORMER.add_and_norm(hidden, delta, 0.5, norm)[1], expected)
    close(CONFORMER.norm_of_sum(hidden, delta, 0.5, norm), expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("channels", [48, 1500, 2048])
def test_gates(dtype: torch.dtype, channels: int) -> None:
    torch.manual_seed(channels)
    both = torch.randn(5, 2 * channels, device=DEVICE).mul(3).to(dtype)
    close(CONFORMER.gate(both), functional.glu(both, dim=-1))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("taps", [3, 15])
@pytest.mark.parametrize("lengths", [(1,), (5, 1, 3, 2), (150,), (64, 7, 70, 1, 1, 90)], ids=str)
def test_a_convolution_stays_inside_its_clip(dtype: torch.dtype, taps: int, lengths: tuple[int, ...]) -> None:
    torch.manual_seed(sum(lengths))
    channels = 300
    gated = torch.randn(sum(lengths), channels, device=DEVICE).to(dtype)
    weight = torch.randn(taps, channels, device=DEVICE).mul(taps**-0.5).to(dtype)
    bias = torch.randn(channels, device=DEVICE).to(dtype)
    clips = PackedClips(lengths, 20, taps // 2, torch.device(DEVICE))
    wide = weight.t().unsqueeze(1).float()
    alone = [
        functional.conv1d(clip.t().float(), wide, bias.float(), padding=taps // 2, groups=channels).t()
        for clip in gated.split(lengths)
    ]
    expected = functional.silu(torch.cat(alone)).to(dtype)
    close(CONFORMER.convolve(gated, clips.gapped_index, weight, bias), expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("lengths", [(20, 40), (1, 7, 33, 20), (5,)], ids=str)
def test_layers_of_the_encoder(dtype: torch.dtype, lengths: tuple[int, ...]) -> None:
    torch.manual_seed(sum(lengths))
    config = GraniteSpeechEncoderConfig(
        num_layers=2, hidden_dim=48, num_heads=3, dim_head=16, context_size=20, max_pos_emb=32, dropout=0.0
    )
    encoder: Any = GraniteSpeechCTCEncoder(config).eval()
    encoder.to(DEVICE, dtype)
    clips = PackedClips(lengths, 20, 7, torch.device(DEVICE))
    frames = torch.randn(sum(lengths), 48, device=DEVICE).to(dtype)
    layers = kernel_layers(encoder, CONFORMER)
    with torch.inference_mode():
        for layer, found in zip(encoder.layers, layers, strict=True):
            close(found(frames, clips, None), ConformerLayer(layer)(frames, clips, None))


@pytest.mark.skipif(DEVICE == "cpu", reason="torch has no such call for CPUs")
@pytest.mark.parametrize(
    "heads", [Heads(4, 2, 16, 0.2), Heads(32, 8, 64, 1 / 64), Heads(16, 4, 128, 1 / 128)], ids=str
)
def test_prompts_attend_together(heads: Heads) -> None:
    torch.manual_seed(0)
    lengths = (370, 5, 128)
    begun = Begun(lengths, torch.tensor(bounds_of(lengths), dtype=torch.int32, device=DEVICE))
    features = (heads.queries + 2 * heads.keys) * heads.width
    projected = torch.randn(sum(lengths), features, device=DEVICE).bfloat16()
    chosen = prompt_attention(heads, torch.bfloat16, torch.device(DEVICE))
    assert torch.version.hip or isinstance(chosen, Together)
    close(chosen(projected, begun), OneByOne(heads)(projected, begun))
