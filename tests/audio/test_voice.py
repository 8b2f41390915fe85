from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lithophone.audio.activity import (
    VOICE_FRAME_SAMPLES,
    Probabilities,
    find_pauses,
    speech_probability,
)
from lithophone.audio.voice import SpeechSplitter, TurnOptions, TurnSplitter
from lithophone.audio.waveform import SAMPLE_RATE, Waveform
from lithophone.audio.windows import Window

FRAME_SECONDS = VOICE_FRAME_SAMPLES / SAMPLE_RATE
SEARCH_SHARE = 3 / 4


def track(seconds: float, *spoken: tuple[float, float]) -> tuple[Waveform, Probabilities]:
    """Samples that count up, and voice in the stretches given in seconds."""
    samples = np.arange(round(seconds * SAMPLE_RATE), dtype=np.float32) / 1e7
    starts = np.arange(-(-len(samples) // VOICE_FRAME_SAMPLES)) * FRAME_SECONDS
    voice = np.full(len(starts), 0.02, np.float32)
    for start, stop in spoken:
        voice[(starts >= start) & (starts < stop)] = 0.98
    return samples, voice


def split(
    splitter: SpeechSplitter | TurnSplitter, samples: Waveform, voice: Probabilities, block: int = 20_000
) -> list[Window]:
    windows: list[Window] = []
    given_frames = 0
    for start in range(0, len(samples), block):
        stop = min(start + block, len(samples))
        frames = stop // VOICE_FRAME_SAMPLES
        windows += splitter.push(samples[start:stop], voice[given_frames:frames])
        given_frames = frames
    return windows + splitter.finish(voice[given_frames:])


def check_samples(windows: list[Window], samples: Waveform) -> None:
    for window in windows:
        assert np.array_equal(window.samples, samples[window.start_sample : window.stop_sample])


stretches = (
    st.lists(st.floats(0, 90), max_size=8).map(sorted).map(lambda t: list(zip(t[::2], t[1::2], strict=False)))
)


@settings(max_examples=40)
@given(st.floats(0, 90), stretches, st.integers(500, 80_000))
def test_speech_windows_cover_everything_and_share_only_what_they_say(
    seconds: float, spoken: list[tuple[float, float]], block: int
) -> None:
    samples, voice = track(seconds, *spoken)
    windows = split(SpeechSplitter(10.0, search_share=SEARCH_SHARE), samples, voice, block)
    check_samples(windows, samples)
    assert sum(len(w.samples) - w.shared_before_samples for w in windows) == len(samples)
    for window, following in pairwise(windows):
        shared = window.stop_sample - following.start_sample
        assert shared == window.shared_after_samples == following.shared_before_samples
        assert shared in {0, 2 * SAMPLE_RATE}
    assert all(len(window.samples) <= 10 * SAMPLE_RATE for window in windows)


@settings(max_examples=40)
@given(st.floats(0, 60), stretches, st.integers(500, 80_000), st.floats(0, 3), st.floats(0, 3))
def test_turns_hold_all_speech_in_order(
    seconds: float, spoken: list[tuple[float, float]], block: int, padding: float, silence: float
) -> None:
    samples, voice = track(seconds, *spoken)
    options = TurnOptions(prefix_padding_seconds=padding, silence_seconds=silence)
    windows = split(TurnSplitter(10.0, options, search_share=SEARCH_SHARE), samples, voice, block)
    check_samples(windows, samples)
    heard = np.zeros(len(samples), bool)
    for window in windows:
        heard[window.start_sample : window.stop_sample] = True
    assert heard[np.repeat(voice > 0.5, VOICE_FRAME_SAMPLES)[: len(samples)]].all()
    assert sum(len(w.samples) - w.shared_before_samples for w in windows) == heard.sum()


def test_the_cut_falls_into_a_pause_of_the_voice_not_of_the_sound() -> None:
    samples, voice = track(40.0, (0, 24), (24.6, 40))
    first, second = split(SpeechSplitter(30.0, search_share=SEARCH_SHARE), samples, voice)
    assert 24.0 < first.stop_seconds < 24.6
    assert second.start_seconds == first.stop_seconds


def test_where_nobody_pauses_both_windows_hear_the_cut() -> None:
    samples, voice = track(40.0, (0, 40))
    first, second = split(SpeechSplitter(30.0, search_share=SEARCH_SHARE), samples, voice)
    assert first.stop_seconds - second.start_seconds == pytest.approx(2.0)
    assert first.stop_seconds > 18


def test_a_window_ends_in_the_first_pause_that_may_lie_between_sentences() -> None:
    samples, voice = track(60.0, (0, 5), (5.9, 12), (12.3, 20), (20.7, 26), (26.9, 60))
    first, second, *_ = split(SpeechSplitter(30.0, search_share=SEARCH_SHARE), samples, voice)
    assert 20.0 < first.stop_seconds < 20.7
    assert second.start_seconds == first.stop_seconds


def test_without_such_a_pause_the_longest_is_taken() -> None:
    samples, voice = track(60.0, (0, 12), (12.2, 15), (15.4, 26), (26.2, 60))
    first, *_ = split(SpeechSplitter(30.0, search_share=SEARCH_SHARE), samples, voice)
    assert 15.0 < first.stop_seconds < 15.4


def test_the_cut_leaves_a_long_pause_to_the_window_before_it() -> None:
    samples, voice = track(60.0, (0, 12), (17, 60))
    first, *_ = split(SpeechSplitter(30.0, search_share=SEARCH_SHARE), samples, voice)
    assert 16.5 < first.stop_seconds < 17.0


def test_turns_keep_their_padding_and_end_with_their_silence() -> None:
    samples, voice = track(20.0, (2, 4), (4.3, 6), (12, 13))
    options = TurnOptions(prefix_padding_seconds=0.5, silence_seconds=0.8)
    first, second = split(TurnSplitter(30.0, options, search_share=SEARCH_SHARE), samples, voice)
    assert first.start_seconds == pytest.approx(1.5, abs=2 * FRAME_SECONDS)
    assert first.stop_seconds == pytest.approx(6.8, abs=2 * FRAME_SECONDS)
    assert second.start_seconds == pytest.approx(11.5, abs=2 * FRAME_SECONDS)


def test_windows_know_whether_anybody_speaks_in_them() -> None:
    samples, voice = track(60.0, (0, 20))
    windows = split(SpeechSplitter(30.0, search_share=SEARCH_SHARE), samples, voice)
    told = [window.speech_probability for window in windows]
    assert told[0] == pytest.approx(0.98, abs=1e-3)
    assert told[-1] == pytest.approx(0.02, abs=1e-3)


def test_a_blip_is_no_speech_and_a_short_word_is() -> None:
    quiet = np.full(50, 0.01, np.float32)
    blip, word = quiet.copy(), quiet.copy()
    blip[20:23] = 0.8
    word[20:28] = 0.9
    assert speech_probability(blip) < 0.4
    assert speech_probability(word) > 0.8
    assert speech_probability(np.zeros(0, np.float32)) == 0


def test_a_gap_within_a_word_is_no_pause() -> None:
    voice = np.full(60, 0.9, np.float32)
    voice[10:14] = 0.1
    voice[30:45] = 0.1
    assert find_pauses(voice) == [(30, 45)]
