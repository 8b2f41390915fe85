"""Where a word has faded away, by how loud the recording is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithophone.audio.waveform import SAMPLE_RATE
from lithophone.granite.levels import HOP_SECONDS, LONGEST_FADE_SECONDS, Levels, fading_seconds, levels_of


def tone(seconds: float, amplitude: float) -> np.ndarray:
    return (amplitude * np.sin(np.arange(int(seconds * SAMPLE_RATE)) * 0.4)).astype(np.float32)


def spoken_until(stop_seconds: float, noise: float = 1e-4) -> Levels:
    """A word up to a moment, then the noise of the room, two seconds in all."""
    noises = np.random.default_rng(2).normal(0, noise, 2 * SAMPLE_RATE).astype(np.float32)
    word = tone(stop_seconds, 0.3)
    noises[: len(word)] += word
    return levels_of(noises)


def test_a_level_is_the_power_of_twenty_milliseconds() -> None:
    levels = levels_of(np.full(SAMPLE_RATE, 0.1, np.float32))
    assert levels.shape == (100,)
    assert levels.dtype == np.float32
    assert levels == pytest.approx(np.full(100, -20.0), abs=1e-3)
    assert len(levels_of(np.zeros(159, np.float32))) == 0


@pytest.mark.parametrize("noise", [0.0, 1e-4, 0.01])
@pytest.mark.parametrize("stop_seconds", [0.62, 0.8, 0.99])
def test_a_word_ends_where_its_sound_does(stop_seconds: float, noise: float) -> None:
    found = fading_seconds(spoken_until(stop_seconds, noise), 0.2, 0.6)
    assert found == pytest.approx(stop_seconds, abs=0.02)


def test_the_word_behind_the_pause_does_not_count() -> None:
    levels = levels_of(np.concatenate([tone(0.7, 0.3), tone(0.5, 1e-4), tone(0.5, 0.3)]))
    assert fading_seconds(levels, 0.2, 0.6) == pytest.approx(0.7, abs=0.02)


def test_where_the_noise_is_as_loud_as_the_word_there_is_no_telling() -> None:
    assert fading_seconds(levels_of(tone(2.0, 0.3)), 0.2, 0.6) is None
    assert fading_seconds(spoken_until(2.0), 0.2, 0.6) is None


def test_a_recording_that_ends_with_the_word_tells_nothing() -> None:
    assert fading_seconds(levels_of(tone(0.6, 0.3)), 0.2, 0.6) is None
    assert fading_seconds(np.zeros(0, np.float32), 0.0, 0.0) is None


@given(
    st.lists(st.floats(-100, 0, width=32), max_size=300),
    st.floats(0, 3),
    st.floats(0, 3),
)
def test_a_word_never_ends_before_its_last_letter(levels: list[float], start: float, length: float) -> None:
    heard = start + length
    found = fading_seconds(np.array(levels, np.float32), start, heard)
    if found is not None:
        assert heard - HOP_SECONDS < found <= heard + LONGEST_FADE_SECONDS + HOP_SECONDS
        assert found <= len(levels) * HOP_SECONDS
