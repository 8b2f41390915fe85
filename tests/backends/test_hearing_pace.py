"""How much one pass of the encoder takes in: what is always allowed, or more where that takes next to no time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithophone.audio.waveform import SAMPLE_RATE
from lithophone.backends.base import RecognitionRequest
from lithophone.backends.device.plan import DevicePlan
from lithophone.backends.device.runtime import TorchRuntime
from lithophone.backends.transformers_backend.pace import (
    LEAST_SAMPLES,
    LONGEST_PASS_SECONDS,
    TAUGHT_SAMPLES,
    HearingPace,
)
from tests.backends.conftest import babble, opened

MOST = 64 * 30 * SAMPLE_RATE


@given(passes=st.lists(st.tuples(st.integers(0, MOST), st.floats(0.0, 30.0))), most=st.integers(0, MOST))
def test_it_stays_within_what_is_allowed(passes: list[tuple[int, float]], most: int) -> None:
    pace = HearingPace(most)
    for samples, seconds in passes:
        pace.observe(samples, seconds)
        assert LEAST_SAMPLES <= pace.samples <= max(LEAST_SAMPLES, most)


@given(samples=st.integers(TAUGHT_SAMPLES, MOST), per_second=st.floats(1e-5, 1.0))
def test_a_pass_takes_no_longer_than_it_may_unless_it_takes_in_the_least(
    samples: int, per_second: float
) -> None:
    pace = HearingPace(MOST)
    pace.observe(samples, samples / SAMPLE_RATE * per_second)
    seconds = pace.samples / SAMPLE_RATE * per_second
    assert pace.samples == LEAST_SAMPLES or seconds <= LONGEST_PASS_SECONDS * 1.001


def test_a_short_pass_teaches_nothing() -> None:
    pace = HearingPace(MOST)
    pace.observe(SAMPLE_RATE, 1e-4)
    assert pace.samples == LEAST_SAMPLES


class TwoPaces:
    """First a slow one, then what the passes teach."""

    def __init__(self, samples: int, then: int) -> None:
        self.samples, self._then = samples, then
        self.taught: list[int] = []

    def observe(self, samples: int, seconds: float) -> None:
        assert seconds >= 0.0
        if samples:
            self.taught.append(samples // SAMPLE_RATE)
            self.samples = self._then


@pytest.mark.parametrize(("then", "together"), [(MOST, [4, 6]), (5 * SAMPLE_RATE, [4, 5, 1])])
def test_as_much_is_heard_at_a_time_as_its_pace_allows(
    shape: Callable[[str], Path], plan: DevicePlan, then: int, together: list[int]
) -> None:
    backend: Any = opened(str(shape("granite-speech-4.1-2b")), plan)
    backend._model.pace = pace = TwoPaces(4 * SAMPLE_RATE, then)
    with TorchRuntime().thread():
        batch = backend.start_batch(lambda: False)
        for key in range(10):
            batch.admit(key, RecognitionRequest(samples=babble(1.0, key)))
        while batch._waiting:
            batch.step()
    assert pace.taught[: len(together)] == together
