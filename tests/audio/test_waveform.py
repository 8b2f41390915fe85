from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lithophone.audio.waveform import (
    pcm16_from_waveform,
    samples_from_seconds,
    samples_in_pcm16,
    seconds_from_samples,
    waveform_from_pcm16,
)

PCM16 = st.binary(max_size=400).map(lambda raw: raw[: len(raw) // 2 * 2])


@given(PCM16)
def test_pcm_survives_the_way_through_floats(pcm: bytes) -> None:
    assert pcm16_from_waveform(waveform_from_pcm16(pcm)) == pcm


def test_full_scale_is_minus_one_to_just_below_one() -> None:
    waveform = waveform_from_pcm16(b"\x00\x80\xff\x7f\x00\x00")
    assert waveform.dtype == np.float32
    assert waveform.tolist() == [-1.0, 32_767 / 32_768, 0.0]


@given(arrays(np.float32, 20, elements=st.floats(-4, 4, width=32)))
def test_rounding_errs_by_half_a_step_and_clips(waveform: np.ndarray) -> None:
    back = waveform_from_pcm16(pcm16_from_waveform(waveform))
    assert np.abs(back - np.clip(waveform, -1, 32_767 / 32_768)).max() <= 0.5 / 32_768


def test_half_a_sample_is_an_error() -> None:
    with pytest.raises(ValueError, match="3 bytes"):
        waveform_from_pcm16(b"abc")


@given(st.integers(0, 10**10))
def test_seconds_and_samples_agree(samples: int) -> None:
    assert samples_from_seconds(seconds_from_samples(samples)) == samples


def test_a_second_is_16000_samples_of_two_bytes() -> None:
    assert samples_from_seconds(1.0) == samples_in_pcm16(32_000) == 16_000
