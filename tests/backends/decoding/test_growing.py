"""Clips that grow: what is settled is kept, and what follows is computed as if all of it had been."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import (
    GraniteSpeechConfig,
    GraniteSpeechModel,
    GraniteSpeechPlusConfig,
    GraniteSpeechPlusModel,
)

from lithophone.backends.cpu.widening import widened_layers
from lithophone.backends.decoding.encoder import PackedEncoder
from lithophone.backends.decoding.growing import (
    FRAME_SAMPLES,
    SETTLED_FRAMES,
    Beginning,
    Beginnings,
)
from lithophone.backends.memory.needs import (
    FLOAT32_BYTES,
    FRAMES_PER_SECOND,
    KEPT_WINDOWS,
    WINDOW_SECONDS,
    kept_bytes,
)
from tests.backends.decoding.test_encoder import (
    ENCODER,
    FLOAT32_TOLERANCE,
    TOLERANCE,
    built,
    clips,
    furthest,
    packed,
)

ROOM_BYTES = 1 << 20
CONTEXT = int(ENCODER["context_size"])  # type: ignore[call-overload]
CLIPS = st.lists(st.tuples(st.integers(1, 3 * SETTLED_FRAMES), st.booleans()), min_size=1, max_size=4)


@pytest.fixture(scope="module")
def speech() -> Any:
    return built(GraniteSpeechConfig, GraniteSpeechModel)


def kept_of(encoder: PackedEncoder, features: list[Tensor]) -> list[Beginning | None]:
    return encoder.encode_growing(packed(features), [Beginning()] * len(features))[1]


@given(lengths=CLIPS)
@settings(max_examples=25)
def test_going_on_from_what_was_kept_gives_the_states_of_the_whole(
    speech: Any, lengths: list[tuple[int, bool]]
) -> None:
    encoder = PackedEncoder(speech.encoder)
    features = clips([length for length, _ in lengths])
    whole = encoder.encode(packed(features))
    grown = kept_of(encoder, features)
    before = [one if grows else None for one, (_, grows) in zip(grown, lengths, strict=True)]
    again, after = encoder.encode_growing(packed(features), before)
    assert furthest(again.split(), whole.split()) < TOLERANCE
    for one, (length, grows) in zip(after, lengths, strict=True):
        assert (one is not None) is grows
        if one is not None:
            assert one.frames == max(length - SETTLED_FRAMES, 0) // CONTEXT * CONTEXT


@given(first=st.integers(SETTLED_FRAMES, 300), more=st.integers(1, 200))
@settings(max_examples=15)
def test_what_was_kept_stays_and_only_what_follows_is_computed(speech: Any, first: int, more: int) -> None:
    encoder = PackedEncoder(speech.encoder)
    (features,) = clips([first + more])
    heard, kept = encoder.encode_growing(packed([features[:first]]), [Beginning()])
    settled = kept[0].frames if kept[0] else 0
    computed = encoder.counts.frames
    grown, after = encoder.encode_growing(packed([features]), kept)
    assert encoder.counts.frames - computed == first + more - settled
    assert torch.equal(grown.rows[:settled], heard.rows[:settled])
    assert len(grown.rows) == first + more
    assert after[0] is not None
    assert after[0].frames >= settled
    finished, _ = encoder.encode_growing(packed([features]), after)
    assert torch.equal(finished.rows[: after[0].frames], grown.rows[: after[0].frames])


def test_layers_that_are_exported_and_layers_that_are_widened_go_on_too() -> None:
    plus = built(GraniteSpeechPlusConfig, GraniteSpeechPlusModel, cat_hidden_layers=[0, 2])
    features = clips([170, 250])
    encoder = PackedEncoder(plus.encoder)
    again, _ = encoder.encode_growing(packed(features), kept_of(encoder, features))
    assert furthest(again.split(), encoder.encode(packed(features)).split()) < TOLERANCE
    halved = built(GraniteSpeechConfig, GraniteSpeechModel).bfloat16()
    encoder = PackedEncoder(halved.encoder, widened_layers(halved.encoder))
    features = [clip.float() for clip in features]
    again, _ = encoder.encode_growing(packed(features), kept_of(encoder, features))
    assert furthest(again.split(), encoder.encode(packed(features)).split()) < FLOAT32_TOLERANCE


def beginning(frames: int) -> Beginning:
    return Beginning(torch.zeros(frames, 2), ())


def test_what_is_kept_is_for_the_same_audio_alone() -> None:
    samples = np.random.default_rng(1).normal(size=200 * FRAME_SAMPLES).astype(np.float32)
    kept = Beginnings(ROOM_BYTES)
    assert kept.of(None, samples) is None
    assert kept.of("one", samples) == Beginning()
    kept.keep("one", samples, beginning(100))
    assert (kept.of("one", samples) or Beginning()).frames == 100
    assert kept.of("two", samples) == Beginning()
    assert kept.of("one", samples[: 101 * FRAME_SAMPLES]) == Beginning()
    assert kept.of("one", samples[::-1]) == Beginning()


def test_so_much_is_kept_and_no_more() -> None:
    samples = np.zeros(200 * FRAME_SAMPLES, np.float32)
    kept = Beginnings(3 * beginning(100).bytes)
    for name in ("0", "1", "2"):
        kept.keep(name, samples, beginning(100))
    kept.of("0", samples)
    kept.keep("new", samples, beginning(100))
    assert kept.bytes == 3 * beginning(100).bytes
    held = [name for name in ("0", "1", "2", "new") if (kept.of(name, samples) or Beginning()).frames]
    assert held == ["0", "2", "new"]


def test_what_grows_no_more_is_given_back() -> None:
    samples = np.zeros(200 * FRAME_SAMPLES, np.float32)
    kept = Beginnings(ROOM_BYTES)
    kept.keep("one", samples, beginning(100))
    kept.keep("two", samples, beginning(100))
    kept.forget("one")
    kept.forget("never heard of")
    assert kept.bytes == beginning(100).bytes
    assert kept.of("one", samples) == Beginning()


@pytest.mark.parametrize("exported", [[], [0, 2]])
def test_a_full_window_keeps_no_more_than_is_counted_for_it(exported: list[int]) -> None:
    kind = (
        (GraniteSpeechPlusConfig, GraniteSpeechPlusModel)
        if exported
        else (GraniteSpeechConfig, GraniteSpeechModel)
    )
    speech = built(*kind, **({"cat_hidden_layers": exported} if exported else {}))
    (one,) = kept_of(PackedEncoder(speech.encoder), clips([round(WINDOW_SECONDS * FRAMES_PER_SECOND)]))
    assert one is not None
    counted = kept_bytes(speech.config) / KEPT_WINDOWS
    assert one.hidden is not None
    in_float32 = one.bytes * FLOAT32_BYTES // one.hidden.element_size()
    assert 0.8 * counted < in_float32 <= counted
