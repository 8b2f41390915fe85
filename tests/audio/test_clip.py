from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from lithophone.audio.clip import Clip
from lithophone.audio.waveform import SAMPLE_RATE
from tests.recordings import speech_like, tone


def test_a_clip_holds_its_samples() -> None:
    clip = Clip.from_pcm16(b"\x01\x00\x02\x00\x03\x00")
    assert clip.pcm16 == b"\x01\x00\x02\x00\x03\x00"
    assert (clip.sample_count, clip.duration_seconds) == (3, 3 / SAMPLE_RATE)


def test_half_a_sample_is_an_error() -> None:
    with pytest.raises(ValueError, match="1 bytes"):
        Clip.from_pcm16(b"x")


def test_cuts_are_exact_to_the_sample() -> None:
    clip = Clip.from_waveform(speech_like(0.1))
    parts = [clip.cut(0, 7), clip.cut(7, 801), clip.cut(801, 9_999)]
    assert [part.sample_count for part in parts] == [7, 794, 799]
    assert b"".join(part.pcm16 for part in parts) == clip.pcm16


@pytest.mark.parametrize("bounds", [(-1, 5), (6, 5)])
def test_cuts_outside_are_errors(bounds: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="no clip"):
        Clip.from_waveform(speech_like(0.1)).cut(*bounds)


@pytest.mark.parametrize("amplitude", [0.01, 0.05, 0.9])
def test_normalising_reaches_the_target(amplitude: float) -> None:
    clip = Clip.from_waveform(tone(0.5, amplitude=amplitude))
    assert clip.normalised(target_dbfs=-20).dbfs == pytest.approx(-20, abs=0.1)


def test_gain_stops_at_its_cap() -> None:
    clip = Clip.from_waveform(tone(0.5, amplitude=0.01))
    assert clip.normalised(max_gain_db=6).dbfs == pytest.approx(clip.dbfs + 6, abs=0.1)


def test_a_click_is_not_clipped() -> None:
    waveform = tone(0.5, amplitude=0.001)
    waveform[4_000] = 0.5
    loud = Clip.from_waveform(waveform).normalised().waveform
    assert np.argmax(loud) == 4_000
    assert loud[4_000] == pytest.approx(10 ** (-1 / 20), abs=0.01)


def test_silence_is_untouched() -> None:
    silence = Clip.from_pcm16(bytes(2_000))
    assert silence.normalised() is silence


def test_empty_clips_are_clips() -> None:
    assert Clip.from_pcm16(b"").normalised().sample_count == 0


def test_importing_pydub_warns_nobody() -> None:
    script = "import lithophone.audio.clip"
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", script], capture_output=True, check=True, text=True
    )
    assert done.stderr == ""
