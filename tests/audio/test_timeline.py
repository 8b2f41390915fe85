from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithophone.audio.timeline import TOLERANCE_SAMPLES, Timeline
from lithophone.audio.waveform import SAMPLE_RATE

FRAME = 1_600


def lay(timeline: Timeline, *starts_seconds: float, quiet: bool = False) -> list[int]:
    """Lays out frames of 0.1 s; the silence before each, or -1 for one that is left out."""
    before: list[int] = []
    for start in starts_seconds:
        silence = timeline.silence_before(start)
        if silence:
            timeline.add_silence(silence)
        elif quiet and timeline.is_past(start, FRAME):
            before.append(-1)
            continue
        before.append(silence)
        timeline.add(FRAME)
    return before


def started(zero_seconds: float = 0.0) -> Timeline:
    timeline = Timeline()
    timeline.begin(zero_seconds)
    return timeline


def test_the_first_packet_is_placed_to_the_sample() -> None:
    assert lay(started(), 4.0001, 4.1001) == [round(4.0001 * SAMPLE_RATE), 0]
    assert lay(started(1_000.0), 1_000.02) == [320]


def test_jitter_is_no_gap() -> None:
    timeline = started()
    assert lay(timeline, 0.0, 0.19, 0.21, 0.28) == [0, 0, 0, 0]
    assert timeline.end_samples == 4 * FRAME
    assert timeline.gap_samples == 0


def test_a_gap_is_silence_and_noted_if_it_is_long() -> None:
    timeline = started()
    assert lay(timeline, 0.0, 0.3, 10.4, 10.8) == [0, 3_200, 160_000, 4_800]
    assert timeline.end_samples == round(10.9 * SAMPLE_RATE)
    assert timeline.gap_samples == 160_000 + 4_800


def test_what_comes_early_is_kept_unless_it_is_quiet() -> None:
    late = started()
    assert lay(late, 0.0, 0.5, 0.2, 0.3) == [0, 6_400, 0, 0]
    assert lay(late, 0.5, 0.6, 0.7, quiet=True) == [-1, -1, 0]
    assert late.end_samples == 9 * FRAME


def test_a_clock_that_steps_back_far_runs_on_from_there() -> None:
    timeline = started()
    assert lay(timeline, 20.0, 20.1, 3.0, 3.1, 5.2, quiet=True) == [320_000, 0, 0, 0, 32_000]


def test_another_source_follows_what_is_laid_out() -> None:
    timeline = started()
    lay(timeline, 0.0, 0.1)
    timeline.begin(7.0)
    assert lay(timeline, 7.5, 7.6) == [8_000, 0]
    assert timeline.end_samples == 4 * FRAME + 8_000
    assert timeline.gap_samples == 0


@given(st.lists(st.floats(0, 100, allow_nan=False), min_size=1, max_size=50), st.booleans())
def test_no_loud_packet_is_lost_and_none_is_late(starts: list[float], quiet: bool) -> None:
    timeline = started()
    silences = lay(timeline, *starts, quiet=quiet)
    assert timeline.end_samples == sum(max(0, s) for s in silences) + FRAME * sum(s >= 0 for s in silences)
    assert quiet or -1 not in silences


@pytest.mark.parametrize("off", [TOLERANCE_SAMPLES, TOLERANCE_SAMPLES + 1])
def test_the_tolerance_is_a_tenth_of_a_second(off: int) -> None:
    assert lay(started(), 0.0, 0.1 + off / SAMPLE_RATE)[1] == (off if off > TOLERANCE_SAMPLES else 0)
