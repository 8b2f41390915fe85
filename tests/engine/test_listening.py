from __future__ import annotations

import msgspec
import pytest
from structlog.testing import capture_logs

from lithophone.audio.voice import TurnOptions
from lithophone.backends.fake import LoudnessDetector
from lithophone.engine.listening import open_listener
from tests.engine import conftest
from tests.engine.conftest import noise

PAUSE = bytes(2 * 16_000)
SPEC = msgspec.structs.replace(conftest.SPEC, max_window_seconds=10.0)


def test_each_cut_is_told_to_whoever_logs_so_much() -> None:
    listener = open_listener(SPEC, LoudnessDetector().open_stream(), None)
    with capture_logs() as lines:
        windows = listener.push(noise(6) + PAUSE + noise(12)) + listener.finish()
    assert [line["event"] for line in lines] == ["window"] * len(windows)
    assert [line["start_seconds"] for line in lines] == [round(window.start_seconds, 3) for window in windows]
    assert [line["shared_before_seconds"] for line in lines] == [0.0, 0.0, 2.0]


def test_without_a_detector_the_cuts_go_by_energy() -> None:
    listener = open_listener(SPEC, None, None)
    windows = listener.push(noise(8) + PAUSE + noise(6)) + listener.finish()
    assert 8.0 < windows[0].stop_seconds < 9.0


def test_turns_need_a_detector() -> None:
    with pytest.raises(ValueError, match="detector"):
        open_listener(SPEC, None, TurnOptions())
