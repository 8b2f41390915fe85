"""What of a window is heard."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithophone.audio.activity import PAUSE_PROBABILITY, VOICE_FRAME_SAMPLES, Probabilities
from lithophone.audio.audible import (
    CLOSURE_SAMPLES,
    HEAD_SECONDS,
    LINGERING_SECONDS,
    SOUND_SAMPLES,
    TAIL_SECONDS,
    UNTOLD_SECONDS,
    audible_span,
)
from lithophone.audio.waveform import SAMPLE_RATE, Waveform


@given(
    st.lists(st.sampled_from([0.0, 0.2, 0.4, 0.9]), min_size=1, max_size=120),
    st.integers(0, VOICE_FRAME_SAMPLES - 1),
)
def test_where_no_sound_tells_the_detector_does_with_room_on_either_side(
    probabilities: list[float], offset: int
) -> None:
    samples = len(probabilities) * VOICE_FRAME_SAMPLES - offset
    start, stop = audible_span(np.array(probabilities, np.float32), -offset, np.zeros(samples, np.float32))
    voiced = [place for place, one in enumerate(probabilities) if one >= PAUSE_PROBABILITY]
    if not voiced:
        assert (start, stop) == (0, samples)
        return
    silence_before = max(0, voiced[0] * VOICE_FRAME_SAMPLES - offset)
    assert start == max(0, silence_before - round((UNTOLD_SECONDS + HEAD_SECONDS) * SAMPLE_RATE))
    silence_behind = samples - ((voiced[-1] + 1) * VOICE_FRAME_SAMPLES - offset)
    tail = round((UNTOLD_SECONDS + TAIL_SECONDS) * SAMPLE_RATE)
    assert samples - stop == max(0, silence_behind - tail)


@given(
    st.integers(4_000, 60_000),
    st.integers(4_000, 60_000),
    st.integers(0, 14),
    st.integers(-14, 6),
    st.integers(0, VOICE_FRAME_SAMPLES - 1),
)
def test_the_same_sound_is_heard_alike_wherever_it_stands(
    before: int, behind: int, late: int, lingering: int, offset: int
) -> None:
    """However late the detector notices that it begins and ends."""
    sound = (np.sin(np.arange(20_000)) * 0.3).astype(np.float32)
    samples = np.concatenate([np.zeros(before, np.float32), sound, np.zeros(behind, np.float32)])
    place = (np.arange(-(-(len(samples) + offset) // VOICE_FRAME_SAMPLES))) * VOICE_FRAME_SAMPLES - offset
    first, last = late * VOICE_FRAME_SAMPLES, len(sound) + lingering * VOICE_FRAME_SAMPLES
    voice = np.where((place >= before + first) & (place < before + last), 0.9, 0.0).astype(np.float32)
    start, stop = audible_span(voice, -offset, samples)
    assert before - start == pytest.approx(HEAD_SECONDS * SAMPLE_RATE, abs=SOUND_SAMPLES)
    assert stop - before - len(sound) == pytest.approx(TAIL_SECONDS * SAMPLE_RATE, abs=SOUND_SAMPLES)
    at_rest = np.concatenate([np.zeros(8_000, np.float32), sound, np.zeros(8_000, np.float32)])
    told = np.full(-(-len(at_rest) // VOICE_FRAME_SAMPLES), 0.9, np.float32)
    told[:16], told[60:] = 0, 0
    begin, end = audible_span(told, 0, at_rest)
    assert np.array_equal(samples[start:stop], at_rest[begin:end])


@given(
    st.floats(0.0, 0.3),
    st.integers(0, 16_000),
    st.integers(0, 16_000),
    st.integers(0, VOICE_FRAME_SAMPLES - 1),
)
def test_a_voice_is_heard_however_faint_it_begins_and_ends(
    level: float, begins: int, ends: int, offset: int
) -> None:
    """Beside something much louder in the same window; of its end as much may go as the detector tells too long."""
    tone = np.sin(np.arange(begins + 16_000 + ends))
    loud = np.zeros(len(tone))
    loud[begins : begins + 16_000] = 1.0
    samples = np.pad((tone * np.maximum(loud, level * 0.01)), 16_000).astype(np.float32)
    place = (np.arange(-(-(len(samples) + offset) // VOICE_FRAME_SAMPLES))) * VOICE_FRAME_SAMPLES - offset
    spoken = (place > 16_000 - VOICE_FRAME_SAMPLES) & (place < 16_000 + len(tone))
    start, stop = audible_span(np.where(spoken, 0.9, 0.0).astype(np.float32), -offset, samples)
    assert start <= 16_000
    assert stop >= 16_000 + len(tone) - (LINGERING_SECONDS - TAIL_SECONDS) * SAMPLE_RATE


def sounding(*parts: tuple[int, float, float]) -> tuple[Probabilities, Waveform]:
    """Frames of a tone: how many, how likely voice, how loud."""
    probabilities = np.concatenate([np.full(frames, voice, np.float32) for frames, voice, _ in parts])
    levels = np.concatenate([np.full(frames * VOICE_FRAME_SAMPLES, level) for frames, _, level in parts])
    return probabilities, (np.sin(np.arange(len(levels))) * levels).astype(np.float32)


BREATH = (4, 0.8, 0.02)
SPEECH = (40, 0.99, 0.5)
QUIET = (10, 0.0, 0.0)


def test_a_breath_that_stands_apart_is_not_heard_at_either_end() -> None:
    voice, samples = sounding(QUIET, BREATH, QUIET, SPEECH, QUIET, BREATH, QUIET)
    start, stop = audible_span(voice, 0, samples)
    assert start == pytest.approx(24 * VOICE_FRAME_SAMPLES - HEAD_SECONDS * SAMPLE_RATE, abs=SOUND_SAMPLES)
    assert stop == pytest.approx(64 * VOICE_FRAME_SAMPLES + TAIL_SECONDS * SAMPLE_RATE, abs=SOUND_SAMPLES)


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param((BREATH, QUIET, BREATH), id="nothing but breaths"),
        pytest.param(((9, 0.8, 0.02), QUIET, SPEECH), id="not brief"),
        pytest.param(((4, 0.99, 0.02), QUIET, SPEECH), id="surely voice"),
        pytest.param(((4, 0.8, 0.2), QUIET, SPEECH), id="not faint"),
        pytest.param((BREATH, (5, 0.0, 0.0), SPEECH), id="not apart"),
    ],
)
def test_what_may_be_a_word_is_heard(parts: tuple[tuple[int, float, float], ...]) -> None:
    voice, samples = sounding(QUIET, *parts, QUIET)
    start, stop = audible_span(voice, 0, samples)
    assert start < 10 * VOICE_FRAME_SAMPLES
    assert stop > len(samples) - 10 * VOICE_FRAME_SAMPLES


@pytest.mark.parametrize("gap", [CLOSURE_SAMPLES - 500, CLOSURE_SAMPLES + 500])
def test_a_click_before_a_voice_is_heard_only_where_it_may_belong_to_it(gap: int) -> None:
    click, silence = np.full(100, 0.5), np.zeros(20_000)
    sound = np.sin(np.arange(20_000)) * 0.5
    samples = np.concatenate([silence, click, np.zeros(gap), sound, silence]).astype(np.float32)
    noticed = 20_100 + gap + 1_000
    voice = np.zeros(len(samples) // VOICE_FRAME_SAMPLES, np.float32)
    voice[noticed // VOICE_FRAME_SAMPLES : (20_100 + gap + 20_000) // VOICE_FRAME_SAMPLES] = 0.9
    start, _ = audible_span(voice, 0, samples)
    begins = 20_000 if gap < CLOSURE_SAMPLES else 20_100 + gap
    assert start == pytest.approx(begins - HEAD_SECONDS * SAMPLE_RATE, abs=SOUND_SAMPLES)


def test_of_noise_before_a_voice_a_little_is_heard() -> None:
    samples = np.random.default_rng(3).normal(0, 0.1, 80_000).astype(np.float32)
    voice = np.zeros(len(samples) // VOICE_FRAME_SAMPLES, np.float32)
    voice[60:90] = 0.9
    start, stop = audible_span(voice, 0, samples)
    assert start == 60 * VOICE_FRAME_SAMPLES - round((UNTOLD_SECONDS + HEAD_SECONDS) * SAMPLE_RATE)
    assert stop == 90 * VOICE_FRAME_SAMPLES + round((UNTOLD_SECONDS + TAIL_SECONDS) * SAMPLE_RATE)
