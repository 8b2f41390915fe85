"""Log-mels against a derivation of our own in float64 numpy, from the definitions alone."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from transformers.audio_utils import mel_filter_bank

from lithophone.granite import features

RATE = 16_000


def mel_triangles() -> NDArray[np.float64]:
    """82 points equally spaced in HTK mels over 0-8000 Hz; band m rises from point m to m+1 and falls to m+2."""
    mels = np.linspace(0, 2595 * math.log10(1 + 8000 / 700), 82)
    edges = 700 * (10 ** (mels / 2595) - 1)
    bins = np.arange(257) * RATE / 512
    bank = np.zeros((257, 80))
    for band in range(80):
        low, mid, high = edges[band : band + 3]
        bank[:, band] = np.interp(bins, [low, mid, high], [0, 1, 0])
    return bank


def power_spectrogram(waveform: NDArray[np.float32]) -> NDArray[np.float64]:
    padded = np.pad(waveform.astype(np.float64), 256, mode="reflect")
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    window = np.pad(hann, 56)  # centred in the 512 points
    frames = 1 + (len(padded) - 512) // 160
    return np.stack(
        [np.abs(np.fft.rfft(padded[t * 160 : t * 160 + 512] * window)) ** 2 for t in range(frames)]
    )


def log_mel(power: NDArray[np.float64]) -> NDArray[np.float64]:
    log = np.log10(np.maximum(power @ mel_triangles(), 1e-10))
    return np.maximum(log, log.max() - 8) / 4 + 1


def speechlike(seconds: float) -> NDArray[np.float32]:
    time = np.arange(round(seconds * RATE)) / RATE
    tone = sum(np.sin(2 * np.pi * f * time + f) / f for f in (120, 240, 700, 1800, 3300, 7000))
    noise = np.random.default_rng(5).normal(0, 0.002, len(time))
    return (5 * tone * (0.55 + 0.45 * np.sin(2 * np.pi * 3 * time)) + noise).astype(np.float32)


@pytest.mark.parametrize("seconds", [0.1, 1.0, 3.217])
def test_stacked_log_mels_follow_the_definition(seconds: float) -> None:
    waveform = speechlike(seconds)
    expected = log_mel(power_spectrogram(waveform))
    expected = expected[: len(expected) // 2 * 2].reshape(-1, 160)
    given_features = features.log_mel_stacked(torch.from_numpy(waveform)).numpy()
    np.testing.assert_allclose(given_features, expected, atol=2e-4)


@pytest.mark.parametrize("samples", [1279, 16_000, 16_100, 51_473])
def test_log_mels_with_deltas_follow_the_definition(samples: int) -> None:
    waveform = speechlike(4)[:samples]
    frames = 2 * math.ceil(samples // 160 / 2)
    needed = max(0, (frames - 1) * 160 + 1 - samples)
    static = log_mel_of_first(np.pad(waveform, (0, needed)), frames)
    edged = np.concatenate([static[:1], static, static[-1:]])
    slope = (edged[2:] - edged[:-2]) / 2
    expected = np.concatenate([static, slope], axis=1).reshape(-1, 320)
    given_features = features.log_mel_with_deltas(torch.from_numpy(waveform)).numpy()
    np.testing.assert_allclose(given_features, expected, atol=2e-4)


def log_mel_of_first(waveform: NDArray[np.float32], frames: int) -> NDArray[np.float64]:
    """5.0 cuts the frames before it takes the maximum."""
    return log_mel(power_spectrogram(waveform)[:frames])


def test_the_filterbank_is_the_htk_one() -> None:
    theirs = mel_filter_bank(257, 80, 0.0, 8000.0, RATE, norm=None, mel_scale="htk")
    np.testing.assert_allclose(features.mel_filterbank().numpy(), theirs, atol=1e-5)


@given(st.integers(features.MIN_SAMPLES, 40_000))
def test_frame_and_token_counts_match_what_is_computed(samples: int) -> None:
    waveform = torch.zeros(samples)
    waveform[::7] = 0.1
    frames = features.log_mel_stacked(waveform).shape[0]
    assert frames == features.stacked_frames(samples)
    assert features.audio_token_count(samples) == 3 * math.ceil(frames / 15)


def test_a_batch_gives_each_clip_its_own_floor() -> None:
    quiet, loud = speechlike(1) * 1e-3, speechlike(1)
    both = features.log_mel_stacked(torch.from_numpy(np.stack([quiet, loud])))
    alone = features.log_mel_stacked(torch.from_numpy(quiet))
    torch.testing.assert_close(both[0], alone)


def clip_lengths(least: int) -> st.SearchStrategy[list[int]]:
    """Of some clips in one call, the shortest there may be among them."""
    return st.lists(st.integers(least, 20_000) | st.just(least), min_size=1, max_size=5)


def clips_of(lengths: list[int]) -> list[NDArray[np.float32]]:
    """Of different loudness: the floor is each clip's own."""
    return [speechlike(2)[:length] * 0.05**index for index, length in enumerate(lengths)]


@given(lengths=clip_lengths(features.MIN_SAMPLES))
@settings(max_examples=20)
def test_in_company_a_clip_has_the_stacked_log_mels_it_has_alone(lengths: list[int]) -> None:
    clips = clips_of(lengths)
    together = features.stacked_log_mels(clips, "cpu")
    for clip, ours in zip(clips, together.split(), strict=True):
        torch.testing.assert_close(ours, features.log_mel_stacked(torch.from_numpy(clip)), atol=1e-4, rtol=0)


@given(lengths=clip_lengths(features.MIN_SAMPLES_5))
@settings(max_examples=20)
def test_in_company_a_clip_has_the_deltas_it_has_alone(lengths: list[int]) -> None:
    clips = clips_of(lengths)
    together, is_real = features.padded_log_mels_with_deltas(clips, "cpu")
    for clip, ours, real in zip(clips, together, is_real, strict=True):
        alone = features.log_mel_with_deltas(torch.from_numpy(clip))
        assert real.tolist() == [frame < len(alone) for frame in range(len(real))]
        torch.testing.assert_close(ours[real], alone, atol=1e-4, rtol=0)
