from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lithophone.audio.mixing import PIECE_SAMPLES, Frames, pcm16_from_channels
from lithophone.audio.waveform import Waveform, waveform_from_pcm16
from tests.recordings import silence, syllables

VOICE = syllables(2.0)


def mixed(*channels: Waveform) -> Waveform:
    return waveform_from_pcm16(pcm16_from_channels(np.stack(channels, axis=1)))


def level_db(mono: Waveform) -> float:
    return float(20 * np.log10(np.linalg.norm(mono) / np.linalg.norm(VOICE)))


@pytest.mark.parametrize("count", [1, 2, 9, 60])
def test_equal_channels_are_their_mean(count: int) -> None:
    assert np.abs(mixed(*[VOICE] * count) - VOICE).max() < 2 / 32_768


def test_one_side_is_halved() -> None:
    assert level_db(mixed(VOICE, silence(2.0))) == pytest.approx(-6.02, abs=0.1)
    assert level_db(mixed(*[VOICE, *[silence(2.0)] * 7])) == pytest.approx(-18.06, abs=0.1)


@pytest.mark.parametrize("second", [-1.0, -0.95, -1.02])
def test_where_channels_cancel_one_is_taken(second: float) -> None:
    assert level_db(mixed(VOICE, np.float32(second) * VOICE)) == pytest.approx(0, abs=0.5)
    assert level_db(mixed(np.float32(second) * VOICE, VOICE)) == pytest.approx(0, abs=0.5)


def test_partly_cancelled_channels_stay_a_mean() -> None:
    assert level_db(mixed(VOICE, np.float32(-0.7) * VOICE)) == pytest.approx(-16.5, abs=0.2)


def test_one_of_many_microphones_is_taken() -> None:
    assert level_db(mixed(*[silence(2.0)] * 20, VOICE, *[silence(2.0)] * 11)) == pytest.approx(0, abs=0.1)


def test_it_is_decided_second_by_second() -> None:
    first, second = VOICE[:PIECE_SAMPLES], VOICE[PIECE_SAMPLES:]
    mono = mixed(VOICE, np.concatenate((-first, second)))
    assert np.abs(mono - VOICE).max() < 2 / 32_768


def test_the_same_channel_is_taken_while_both_are_as_loud() -> None:
    mono = mixed(VOICE, np.concatenate((-VOICE[:PIECE_SAMPLES], np.float32(-1.01) * VOICE[PIECE_SAMPLES:])))
    assert np.abs(mono - VOICE).max() < 2 / 32_768


def test_a_signalling_nan_is_the_least_sample() -> None:
    frames = np.frombuffer(b"\x01\0\x80\x7f" * 4, "<f4").reshape(-1, 2)
    assert pcm16_from_channels(frames) == pcm16_from_channels(frames[:, :1]) == b"\0\x80" * 2


@given(hnp.arrays(np.float32, st.tuples(st.integers(0, 50), st.integers(1, 5)), elements=st.floats(width=32)))
def test_any_numbers_make_as_many_samples(frames: Frames) -> None:
    assert len(pcm16_from_channels(frames)) == 2 * len(frames)
