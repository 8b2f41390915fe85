"""`docs/realtime.md`: its example runs, and its table is what the code does."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from lithophone.audio.waveform import pcm16_from_waveform
from lithophone.engine.dictation.options import POLICIES
from tests.conftest import LiveServer
from tests.figures.recording import SPEECH

PAGE = (Path(__file__).parents[3] / "docs" / "realtime.md").read_text()


def test_the_example_prints_what_is_said(
    live_server: LiveServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    samples, rate = soundfile.read(SPEECH / "demo.flac", dtype="float32")
    speech = soxr.resample(samples, rate, 24_000).astype(np.float32)
    (tmp_path / "speech.raw").write_bytes(pcm16_from_waveform(speech))
    (example,) = re.findall(r"(?s)```python\n(.*?)```", PAGE)
    (tmp_path / "example.py").write_text(example.replace("http://127.0.0.1:8000", live_server.url))
    monkeypatch.chdir(tmp_path)
    runpy.run_path("example.py", run_name="__main__")
    assert len(capsys.readouterr().out.split()) > 3


@pytest.mark.parametrize("delay", POLICIES)
def test_the_table_tells_the_policies(delay: str) -> None:
    policy = POLICIES[delay]  # pyright: ignore[reportArgumentType] - a `Delay` is a string
    step = "at pauses" if policy.at_pauses else f"{policy.step_seconds:g} s"
    row = f"| `{delay}` | {step} | {policy.agreeing} | {policy.held_back_seconds:g} s |"
    assert row in PAGE
