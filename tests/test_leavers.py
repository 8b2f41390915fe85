"""Clients that leave at random beside clients that stay: those see nothing of it."""

from __future__ import annotations

import asyncio

import pytest

from tests.conftest import start_server
from tests.figures.leavers import Tally, clips, run_crowd


def crowd(seconds: float, clients: int) -> Tally:
    process, url = start_server("--dtype", "float32")
    try:
        return asyncio.run(run_crowd(url, clips(12), clients=clients, seconds=seconds, seed=3))
    finally:
        process.terminate()
        process.communicate(timeout=60)


def test_those_that_stay_are_answered_as_if_they_were_alone() -> None:
    tally = crowd(seconds=6, clients=8)
    assert tally.sound, (tally.failed, tally.differing)
    assert min(tally.stayed, tally.left) >= 10


@pytest.mark.slow
def test_the_same_for_minutes() -> None:
    tally = crowd(seconds=180, clients=16)
    assert tally.sound, (tally.failed, tally.differing)
    assert min(tally.stayed, tally.left) >= 500
