"""Our packed encoder against transformers' own, alone and in company."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from accelerate import cpu_offload
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import (
    GraniteSpeechConfig,
    GraniteSpeechModel,
    GraniteSpeechPlusConfig,
    GraniteSpeechPlusModel,
)

from lithophone.backends.cpu.widening import widened_layers
from lithophone.backends.decoding.encoder import (
    ClipwiseEncoder,
    PackedClips,
    PackedEncoder,
    of_few_sizes,
    project,
)
from lithophone.granite.packing import PackedRows

HIDDEN = 48
ENCODER = {
    "num_layers": 4,
    "hidden_dim": HIDDEN,
    "num_heads": 3,
    "dim_head": 16,
    "output_dim": 64,
    "context_size": 20,
    "max_pos_emb": 32,
    "dropout": 0.0,
}
TEXT = {
    "model_type": "granite",
    "vocab_size": 32,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}
TOLERANCE = 1e-12  # of the largest value, in float64; a neighbour unmasked changes 1e-2
FLOAT32_TOLERANCE = 5e-5
LENGTHS = st.lists(st.integers(1, 65), min_size=1, max_size=6)


def built(config: type[Any], model: type[Any], **encoder: object) -> Any:
    """A small model whose norms have statistics worth folding."""
    torch.manual_seed(5)
    layers = encoder.get("cat_hidden_layers", ())
    projector = {
        "model_type": "blip_2_qformer",
        "hidden_size": 32,
        "encoder_hidden_size": HIDDEN * (1 + len(layers)),  # type: ignore[arg-type]
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "cross_attention_frequency": 1,
        "vocab_size": 1,
    }
    made = model(
        config(text_config=TEXT, encoder_config={**ENCODER, **encoder}, projector_config=projector)
    ).eval()
    for name, parameter in made.named_parameters():
        nn.init.normal_(parameter, std=0.3 if parameter.ndim > 1 else 0.1) if "norm" not in name else None
    for module in made.modules():
        if isinstance(module, nn.BatchNorm1d) and module.running_mean is not None:
            module.running_mean.normal_(0.0, 0.5)
            module.running_var.uniform_(0.5, 2.0)  # type: ignore[union-attr]
    return made.double().requires_grad_(requires_grad=False)


@pytest.fixture(scope="module")
def speech() -> Any:
    return built(GraniteSpeechConfig, GraniteSpeechModel)


def clips(lengths: list[int], seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(length, 160, generator=generator, dtype=torch.float64) for length in lengths]


def packed(features: list[Tensor]) -> PackedRows:
    return PackedRows(torch.cat(features), tuple(map(len, features)))


def furthest(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> float:
    """The largest difference, relative to the largest activation."""
    assert [a.shape for a in ours] == [b.shape for b in theirs]
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(ours, theirs, strict=True))


@given(lengths=LENGTHS)
@settings(max_examples=25)
def test_in_company_a_clip_has_the_states_transformers_gives_it_alone(
    speech: Any, lengths: list[int]
) -> None:
    features = clips(lengths)
    theirs = [speech.encoder(clip.unsqueeze(0)).last_hidden_state[0] for clip in features]
    together = PackedEncoder(speech.encoder).encode(packed(features))
    assert furthest(together.split(), theirs) < TOLERANCE
    audio = [speech.projector(states.unsqueeze(0))[0] for states in theirs]
    assert furthest(project(speech.projector, together).split(), audio) < TOLERANCE


@pytest.mark.parametrize("exported", [[3], [0], [2], [0, 2, 3]])
def test_the_plus_model_exports_the_layers_transformers_exports(exported: list[int]) -> None:
    plus = built(GraniteSpeechPlusConfig, GraniteSpeechPlusModel, cat_hidden_layers=exported)
    features = clips([7, 45, 20])
    theirs = [plus.encoder(clip.unsqueeze(0)).last_hidden_state[0] for clip in features]
    ours = PackedEncoder(plus.encoder)
    assert furthest(ours.encode(packed(features)).split(), theirs) < TOLERANCE
    expected = torch.log_softmax(plus.encoder.out(theirs[1][:, -HIDDEN:]), dim=-1).float()
    torch.testing.assert_close(ours.ctc_log_probs(theirs[1]), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_widened_encoder_computes_in_float32_on_the_16_bit_weights(dtype: torch.dtype) -> None:
    halved = built(GraniteSpeechConfig, GraniteSpeechModel).to(dtype)
    whole = copy.deepcopy(halved).float()
    features = [clip.float() for clip in clips([7, 45, 20])]
    theirs = [whole.encoder(clip.unsqueeze(0)).last_hidden_state[0] for clip in features]
    ours = PackedEncoder(halved.encoder, widened_layers(halved.encoder))
    assert furthest(ours.encode(packed(features)).split(), theirs) < FLOAT32_TOLERANCE
    assert furthest(ours.encode(packed(features)).split(), theirs) < FLOAT32_TOLERANCE
    expected = torch.log_softmax(whole.encoder.out(theirs[1]), dim=-1)
    torch.testing.assert_close(ours.ctc_log_probs(theirs[1]), expected, atol=1e-4, rtol=0)
    assert halved.encoder.input_linear.weight.dtype is dtype


def test_a_neighbour_changes_transformers_own_states(speech: Any) -> None:
    """Why this encoder exists: were it untrue, a padded batch would do."""
    short, long = clips([25, 60])
    padded = nn.utils.rnn.pad_sequence([short, long], batch_first=True)
    together = speech.encoder(padded).last_hidden_state[0, :25]
    alone = speech.encoder(short.unsqueeze(0)).last_hidden_state[0]
    assert furthest([together], [alone]) > 0.01


def test_layers_that_are_offloaded_are_run_clip_by_clip() -> None:
    speech = built(GraniteSpeechConfig, GraniteSpeechModel)
    features = clips([33, 8])
    expected = PackedEncoder(speech.encoder).encode(packed(features))
    labels = PackedEncoder(speech.encoder).ctc_log_probs(expected.rows)
    cpu_offload(speech, execution_device=torch.device("cpu"))
    assert speech.encoder.input_linear.weight.is_meta
    ours = ClipwiseEncoder(speech.encoder, torch.device("cpu"))
    hidden = ours.encode(packed(features))
    assert furthest(hidden.split(), expected.split()) < TOLERANCE
    torch.testing.assert_close(ours.ctc_log_probs(hidden.rows), labels, atol=1e-4, rtol=0)
    audio = project(speech.projector, expected)
    assert furthest(project(speech.projector, hidden).split(), audio.split()) < TOLERANCE


@given(lengths=LENGTHS, context=st.integers(1, 30))
def test_blocks_hold_every_frame_once_and_in_order(lengths: list[int], context: int) -> None:
    places = PackedClips(lengths, context, gap=7, device=torch.device("cpu"))
    frames = torch.arange(sum(lengths)).unsqueeze(1)
    blocks = places.to_blocks(frames)
    assert torch.equal(places.from_blocks(blocks), frames)
    owner = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    assert all(len(owner[block.squeeze(1)].unique()) == 1 for block in blocks)


@given(lengths=LENGTHS, gap=st.integers(0, 9))
def test_the_convolution_sees_zeros_beside_every_clip(lengths: list[int], gap: int) -> None:
    row = PackedClips(lengths, 20, gap=gap, device=torch.device("cpu"))
    places = row.gapped_index.tolist()
    ends = [sum(lengths[: i + 1]) for i in range(len(lengths))]
    assert places[0] == gap
    assert places[-1] < row.gapped_frames - gap
    assert all(places[end] - places[end - 1] == gap + 1 for end in ends[:-1])


def test_a_convolution_is_prepared_for_few_sizes_whatever_the_clips_are() -> None:
    """One more for each size would be memory that grows as long as new lengths come."""
    clips = [PackedClips([frames], 200, gap=7, device=torch.device("cpu")) for frames in range(1, 8_000, 3)]
    assert len({one.gapped_frames for one in clips}) < 120


@given(rows=st.integers(1, 1 << 40))
def test_a_size_is_hardly_more_than_what_it_is_for(rows: int) -> None:
    size = of_few_sizes(rows)
    assert rows <= size < rows + max(16, rows / 16 + 1)
    assert of_few_sizes(size) == size
