"""Counts made on a model without weights against torch's own count of small models that compute, and against arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import GraniteSpeechForConditionalGeneration

from lithophone.backends.memory.estimate import build_on_meta, load_config
from lithophone.bench.roofline import bytes_per_pass, hearing_flops, text_flops, text_weights
from lithophone.bench.weights import family_config
from lithophone.granite.family import FAMILY, Architecture

SPEECH = [spec for spec in FAMILY.values() if spec.architecture is not Architecture.CTC and spec.hub_id]


@pytest.fixture(scope="module")
def folder(shape: Callable[[str], Path]) -> Path:
    return shape("granite-speech-4.1-2b")


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    loaded: Any = GraniteSpeechForConditionalGeneration
    model = loaded.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    return model.eval().requires_grad_(requires_grad=False)


@pytest.fixture(scope="module")
def drawn(folder: Path) -> Any:
    return build_on_meta(load_config(folder))


def counted(run: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def test_hearing_costs_what_torch_counts(model: Any, drawn: Any) -> None:
    frames = 400  # whole blocks of 200: transformers computes the padding of others
    features = torch.randn(1, frames, 160)
    found = counted(lambda: model.get_audio_features(features)) + 2 * frames * 64 * 348  # the head at the end
    assert hearing_flops(drawn, frames) == pytest.approx(found, rel=0.02)


def test_a_pass_costs_what_torch_counts(model: Any, drawn: Any) -> None:
    text = model.model.language_model
    found = counted(
        lambda: model.lm_head(text(torch.zeros(1, 64, dtype=torch.long)).last_hidden_state[:, -1:])
    )
    assert text_flops(drawn, 64) == found


@pytest.mark.parametrize("spec", SPEECH, ids=lambda spec: spec.id)
def test_a_pass_reads_every_matrix_of_the_language_model_once(spec: Any) -> None:
    config: Any = family_config(spec)
    text = config.text_config
    heads = text.num_attention_heads + text.num_key_value_heads
    attention = 2 * text.hidden_size * (text.hidden_size // text.num_attention_heads) * heads
    layer = attention + 3 * text.hidden_size * text.intermediate_size
    expected = text.num_hidden_layers * layer + text.hidden_size * text.vocab_size
    assert text_weights(build_on_meta(config)) == expected


@pytest.mark.parametrize("spec", SPEECH, ids=lambda spec: spec.id)
def test_the_published_shapes_have_the_published_sizes(spec: Any) -> None:
    parameters = sum(parameter.numel() for parameter in build_on_meta(family_config(spec)).parameters())
    assert parameters == pytest.approx(spec.parameters, rel=0.01)


def test_cached_positions_are_read_beside_the_weights(drawn: Any) -> None:
    text = drawn.config.text_config
    none, some = bytes_per_pass(drawn, 2, 0), bytes_per_pass(drawn, 2, 100)
    head_width = text.hidden_size // text.num_attention_heads
    assert none == 2 * text_weights(drawn)
    assert some - none == 2 * 2 * text.num_hidden_layers * text.num_key_value_heads * head_width * 100


def test_a_token_behind_more_tokens_costs_more(drawn: Any) -> None:
    assert text_flops(drawn, 500) - text_flops(drawn, 400) > text_flops(drawn, 200) - text_flops(drawn, 100)
