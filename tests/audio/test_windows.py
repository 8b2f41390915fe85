from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lithophone.audio.waveform import SAMPLE_RATE, Waveform, pcm16_from_waveform, samples_from_seconds
from lithophone.audio.windows import Cut, Window, WindowSplitter, is_silent, is_too_short, quietest_cut
from tests.recordings import speech_like, tone

LONG_RECORDING = speech_like(20.0)


def noise(seconds: float, amplitude: float = 0.1, seed: int = 0) -> Waveform:
    generator = np.random.default_rng(seed)
    return (amplitude * generator.standard_normal(samples_from_seconds(seconds))).astype(np.float32)


def with_pauses(seconds: float, *pauses: tuple[float, float], floor: float = 0.0) -> Waveform:
    """Noise with `(start, stop)` pauses, in seconds."""
    samples = noise(seconds)
    for start, stop in pauses:
        samples[samples_from_seconds(start) : samples_from_seconds(stop)] *= floor
    return samples


def split(samples: Waveform, max_window_seconds: float = 30.0, block: int = 32_768) -> list[Window]:
    splitter = WindowSplitter(max_window_seconds)
    blocks = (samples[start : start + block] for start in range(0, len(samples), block))
    return [*itertools.chain.from_iterable(splitter.push(block) for block in blocks), *splitter.finish()]


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 15 * SAMPLE_RATE), st.integers(1_000, 200_000), st.integers(0, 2**32 - 1))
def test_windows_tile_the_audio(length: int, block: int, seed: int) -> None:
    samples = noise(length / SAMPLE_RATE, seed=seed)
    windows = split(samples, 4.0, block)
    assert np.array_equal(np.concatenate([window.samples for window in windows] or [samples[:0]]), samples)
    stops = [window.stop_sample for window in windows]
    assert [window.start_sample for window in windows] == [0, *stops][: len(windows)]
    assert all(len(window.samples) <= 4 * SAMPLE_RATE for window in windows)
    if len(windows) > 1:
        assert min(len(window.samples) for window in windows) >= samples_from_seconds(4 / 30)


@settings(deadline=None, max_examples=10)
@given(st.integers(1_000, 200_000))
def test_the_blocks_audio_arrives_in_do_not_move_the_cuts(block: int) -> None:
    samples = LONG_RECORDING
    whole = split(samples, 4.0, len(samples))
    assert [w.start_sample for w in split(samples, 4.0, block)] == [w.start_sample for w in whole]


@pytest.mark.parametrize("seconds", [0.0, 0.05, 12.0, 30.0])
def test_what_fits_stays_whole(seconds: float) -> None:
    assert [w.duration_seconds for w in split(noise(seconds))] == ([seconds] if seconds else [])


@pytest.mark.parametrize("seconds", [30.0001, 30.2, 31.0, 60.1, 61.0])
def test_no_rest_is_a_sliver(seconds: float) -> None:
    assert min(w.duration_seconds for w in split(noise(seconds))) >= 1.0


def test_the_cut_falls_into_the_pause() -> None:
    first, second = split(with_pauses(40.0, (24.0, 24.6)))
    assert 24.1 < first.stop_seconds < 24.5
    assert second.start_seconds == first.stop_seconds
    assert second.stop_seconds == 40.0


def test_of_two_pauses_the_later_one_is_taken() -> None:
    first, _ = split(with_pauses(40.0, (22.0, 22.5), (27.0, 27.5)))
    assert 27.1 < first.stop_seconds < 27.4


def test_a_true_pause_beats_a_later_dip() -> None:
    samples = with_pauses(40.0, (22.0, 22.5))
    samples[samples_from_seconds(28.0) : samples_from_seconds(28.05)] = 0  # the closure of a stop consonant
    first, _ = split(samples)
    assert 22.1 < first.stop_seconds < 22.4


def test_a_quieter_pause_beats_a_noisier_one() -> None:
    samples = with_pauses(40.0, (22.0, 22.5), floor=0.001)
    samples[samples_from_seconds(27.0) : samples_from_seconds(27.5)] *= 0.3
    first, _ = split(samples)
    assert 22.1 < first.stop_seconds < 22.4


def test_of_a_long_pause_the_cut_keeps_clear_of_the_speech_after_it() -> None:
    first, _ = split(with_pauses(40.0, (21.0, 27.0)))
    assert 25.5 < first.stop_seconds < 26.8


def test_a_pause_outside_the_last_third_is_no_reason_for_a_short_window() -> None:
    first, _ = split(with_pauses(40.0, (5.0, 6.0)))
    assert first.stop_seconds >= 20.0


def test_a_stretch_too_short_to_choose_in_is_cut_in_its_middle() -> None:
    assert quietest_cut(noise(1.0), 10_000, 12_000) == 11_000


@settings(deadline=None)
@given(st.integers(0, 16_000), st.integers(0, 16_000), st.integers(0, 100))
def test_cuts_stay_in_bounds(one: int, other: int, seed: int) -> None:
    earliest, latest = sorted((one, other))
    assert earliest <= quietest_cut(noise(1.0, seed=seed), earliest, latest) <= latest


def test_pcm_bytes_and_floats_give_the_same_windows() -> None:
    samples = speech_like(7.0)
    pcm = pcm16_from_waveform(samples)
    splitter = WindowSplitter(3.0)
    windows = splitter.push(pcm) + splitter.finish()
    assert b"".join(pcm16_from_waveform(w.samples) for w in windows) == pcm


def test_windows_do_not_change_under_their_readers() -> None:
    samples = noise(1.0)
    (window,) = split(samples)
    with pytest.raises(ValueError, match="read-only"):
        window.samples[0] = 1


def test_another_chooser_may_place_the_cuts() -> None:
    splitter = WindowSplitter(3.0, choose_cut=lambda _, earliest, __: Cut(earliest))
    windows = splitter.push(noise(7.0)) + splitter.finish()
    assert [w.duration_seconds for w in windows] == [2.0, 2.0, 3.0]


def test_a_chooser_that_leaves_its_bounds_is_an_error() -> None:
    splitter = WindowSplitter(3.0, choose_cut=lambda _, __, latest: Cut(latest + 1))
    with pytest.raises(ValueError, match="outside"):
        splitter.push(noise(7.0))


def test_windows_shorter_than_three_seconds_are_refused() -> None:
    with pytest.raises(ValueError, match="too short"):
        WindowSplitter(2.9)


def test_memory_stays_at_one_window_and_a_block() -> None:
    splitter = WindowSplitter(3.0)
    held = 0
    for _ in range(50):
        splitter.push(noise(1.0))
        held = max(held, sum(len(part) for part in splitter._pending))
    assert held <= samples_from_seconds(3.0 + 0.1 + 1.0)


@pytest.mark.parametrize(
    ("samples", "silent"),
    [
        (np.zeros(16_000, dtype=np.float32), True),
        (np.full(16_000, 0.3, dtype=np.float32), True),
        (np.zeros(0, dtype=np.float32), True),
        (tone(0.5, amplitude=6 / 32_768), True),
        (tone(0.5, amplitude=10 / 32_768), False),
        (speech_like(0.5), False),
    ],
)
def test_silence_is_what_nobody_can_hear(samples: Waveform, silent: bool) -> None:
    assert is_silent(samples) is silent


@pytest.mark.parametrize(("count", "short"), [(0, True), (1_599, True), (1_600, False)])
def test_a_tenth_of_a_second_is_the_least(count: int, short: bool) -> None:
    assert is_too_short(np.zeros(count, dtype=np.float32)) is short
