"""The arithmetic against torch's own count of what small models of the same classes do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, GraniteSpeechForConditionalGeneration

from lithophone.backends.memory import build_on_meta
from lithophone.bench.figures import ModelFigures, read_figures
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
def figures(folder: Path) -> ModelFigures:
    return read_figures(AutoConfig.from_pretrained(folder))


def counted(run: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def test_hearing_costs_what_torch_counts(model: Any, figures: ModelFigures) -> None:
    frames = 400  # whole blocks of 200: transformers computes the padding of others
    features = torch.randn(1, frames, 160)
    found = counted(lambda: model.get_audio_features(features)) + 2 * frames * 64 * 348  # the head at the end
    assert figures.hearing_flops(frames) == pytest.approx(found, rel=0.02)


def test_a_pass_costs_what_torch_counts(model: Any, figures: ModelFigures) -> None:
    """Attention over the prompt is counted in full by torch, by us only as far as a token looks back."""
    text = model.model.language_model
    found = counted(
        lambda: model.lm_head(text(torch.zeros(1, 64, dtype=torch.long)).last_hidden_state[:, -1:])
    )
    unseen = 64 * 64 - 64 * 65 // 2  # pairs of a token and one behind it
    masked = 2 * 2 * figures.text.layers * unseen * figures.text.heads * figures.text.head_width
    assert figures.text.flops(64, 0, 1) == found - masked


@pytest.mark.parametrize("spec", SPEECH, ids=lambda spec: spec.id)
def test_a_pass_reads_every_matrix_of_the_language_model_once(spec: Any) -> None:
    config = family_config(spec)
    model: Any = build_on_meta(config)
    layers = sum(
        module.weight.numel()
        for module in model.model.language_model.modules()
        if isinstance(module, nn.Linear)
    )
    assert read_figures(config).text.weights_per_pass == layers + model.lm_head.weight.numel()


@pytest.mark.parametrize("spec", SPEECH, ids=lambda spec: spec.id)
def test_the_published_shapes_have_the_published_sizes(spec: Any) -> None:
    parameters = sum(parameter.numel() for parameter in build_on_meta(family_config(spec)).parameters())
    assert parameters == pytest.approx(spec.parameters, rel=0.01)


def test_cached_positions_are_read_beside_the_weights(figures: ModelFigures) -> None:
    text = figures.text
    none, some = text.bytes_per_pass(2, 0), text.bytes_per_pass(2, 100)
    assert none == 2 * text.weights_per_pass
    assert some - none == 2 * 2 * text.layers * text.key_heads * text.head_width * 100


def test_a_token_behind_more_tokens_costs_more(figures: ModelFigures) -> None:
    text = figures.text
    assert text.flops(1, 500, 1) > text.flops(1, 100, 1)
    assert text.flops(8, 100, 8) > 7 * text.flops(1, 100, 1)
