from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lithophone.worker.watch import LEAST_SECONDS, STEPS_TO_KNOW, StepWatch


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def step(watch: StepWatch, clock: Clock, seconds: float, joined: float = 0.0, running: float = 30.0) -> None:
    watch.begin(joined, running)
    clock.now += seconds
    watch.end()


def test_nothing_is_overdue_between_steps() -> None:
    clock = Clock()
    watch = StepWatch(clock)
    clock.now = 1e9
    assert not watch.is_overdue
    step(watch, clock, 1.0)
    clock.now += 1e9
    assert not watch.is_overdue


def test_a_step_may_take_longer_the_more_audio_there_is() -> None:
    clock = Clock()
    watch = StepWatch(clock)
    for running, patience in ((0.0, 50), (30.0, 650)):
        watch.begin(running, running)
        clock.now += patience - 5
        assert not watch.is_overdue
        clock.now += 60
        assert watch.is_overdue
        watch.end()


def test_on_a_fast_machine_a_stuck_step_is_noticed_soon() -> None:
    clock = Clock()
    watch = StepWatch(clock)
    for _ in range(STEPS_TO_KNOW):
        step(watch, clock, 0.05, joined=30.0)
    watch.begin(30.0, 30.0)
    clock.now += LEAST_SECONDS + 2
    assert watch.is_overdue


@given(st.lists(st.tuples(st.floats(0.001, 100), st.floats(0, 480)), min_size=1, max_size=40))
def test_a_machine_that_stays_as_slow_as_it_was_is_never_overdue(steps: list[tuple[float, float]]) -> None:
    """Each step takes a steady pace for the audio that joined, or as long as one that heard what runs once more."""
    clock = Clock()
    watch = StepWatch(clock)
    pace = steps[0][0] / 10
    for _ in range(STEPS_TO_KNOW):
        step(watch, clock, pace * 31, joined=30.0)
    for _, running in steps:
        watch.begin(0.0, running)
        clock.now += pace * (running + 1)
        assert not watch.is_overdue
        watch.end()
