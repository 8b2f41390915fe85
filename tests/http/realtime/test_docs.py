"""`docs/realtime.md`: its table is what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest

from lithophone.engine.dictation.options import POLICIES, Delay

PAGE = (Path(__file__).parents[3] / "docs" / "realtime.md").read_text()


@pytest.mark.parametrize("delay", Delay)
def test_the_table_tells_the_policies(delay: Delay) -> None:
    policy = POLICIES[delay]
    step = "at pauses" if policy.at_pauses else f"{policy.step_seconds:g} s"
    row = f"| `{delay}` | {step} | {policy.agreeing} | {policy.held_back_seconds:g} s |"
    assert row in PAGE
