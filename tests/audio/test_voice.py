from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lithophone.audio.voice import (
    BEYOND_VOICE_SECONDS,
    HEAD_SECONDS,
    LINGERING_SECONDS,
    PAUSE_PROBABILITY,
    SOUND_SAMPLES,
    TAIL_SECONDS,
    VOICE_FRAME_SAMPLES,
    Probabilities,
    SpeechSplitter,
    TurnOptions,
    TurnSplitter,
    find_pauses,
    heard_span,
    speech_probability,
)
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


@given(
    st.lists(st.sampled_from([0.0, 0.2, 0.4, 0.9]), min_size=1, max_size=120),
    st.integers(0, VOICE_FRAME_SAMPLES - 1),
)
def test_where_no_sound_tells_the_detector_does_with_room_on_either_side(
    probabilities: list[float], offset: int
) -> None:
    samples = len(probabilities) * VOICE_FRAME_SAMPLES - offset
    start, stop = heard_span(np.array(probabilities, np.float32), -offset, np.zeros(samples, np.float32))
    voiced = [place for place, one in enumerate(probabilities) if one >= PAUSE_PROBABILITY]
    if not voiced:
        assert (start, stop) == (0, samples)
        return
    silence_before = max(0, voiced[0] * VOICE_FRAME_SAMPLES - offset)
    assert start == max(0, silence_before - round((BEYOND_VOICE_SECONDS + HEAD_SECONDS) * SAMPLE_RATE))
    silence_behind = samples - ((voiced[-1] + 1) * VOICE_FRAME_SAMPLES - offset)
    tail = round((BEYOND_VOICE_SECONDS + TAIL_SECONDS) * SAMPLE_RATE)
    assert samples - stop == max(0, silence_behind - tail)


@given(
    st.integers(4_000, 60_000),
    st.integers(4_000, 60_000),
    st.integers(0, 5),
    st.integers(-3, 6),
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
    start, stop = heard_span(voice, -offset, samples)
    assert before - start == pytest.approx(HEAD_SECONDS * SAMPLE_RATE, abs=SOUND_SAMPLES)
    assert stop - before - len(sound) == pytest.approx(TAIL_SECONDS * SAMPLE_RATE, abs=SOUND_SAMPLES)
    at_rest = np.concatenate([np.zeros(8_000, np.float32), sound, np.zeros(8_000, np.float32)])
    told = np.full(-(-len(at_rest) // VOICE_FRAME_SAMPLES), 0.9, np.float32)
    told[:16], told[60:] = 0, 0
    begin, end = heard_span(told, 0, at_rest)
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
    start, stop = heard_span(np.where(spoken, 0.9, 0.0).astype(np.float32), -offset, samples)
    assert start <= 16_000
    assert stop >= 16_000 + len(tone) - (LINGERING_SECONDS - TAIL_SECONDS) * SAMPLE_RATE
