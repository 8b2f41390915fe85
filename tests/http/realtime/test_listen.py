"""`lithophone-client listen` against our server."""

from __future__ import annotations

import wave
from pathlib import Path

import msgspec
import numpy as np
import pytest

from lithophone.audio.waveform import pcm16_from_waveform
from lithophone_client.listening.command import main
from tests.engine.dictation.spoken import SPEC, silence, spoken
from tests.http.conftest import Live
from tests.http.realtime.conftest import live_serving


@pytest.fixture
def talk(tmp_path: Path) -> str:
    path = tmp_path / "talk.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(
            pcm16_from_waveform(np.concatenate([silence(0.3), spoken(1, 2, pause_seconds=0.7), spoken(3)]))
        )
    return str(path)


def test_each_turn_is_a_line(live: Live, talk: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["listen", talk, "--url", live.url]) == 0
    assert capsys.readouterr() == ("one two\nthree\n", "")


def test_a_refusal_is_said(talk: str, capsys: pytest.CaptureFixture[str]) -> None:
    with live_serving(api_keys=("key",)) as guarded:
        assert main(["listen", talk, "--url", guarded.url, "--api-key", "wrong"]) == 2
        assert "Incorrect API key" in capsys.readouterr().err
        assert main(["listen", talk, "--url", guarded.url, "--api-key", "key", "--model", "none"]) == 2
        assert "model_not_found" in capsys.readouterr().err


def test_what_a_demonstration_model_is_and_did_not_understand_is_said_once(
    talk: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with live_serving(spec=msgspec.structs.replace(SPEC, least_logprob=0.0)) as live:
        assert main(["listen", talk, "--url", live.url]) == 0
    kept, said = capsys.readouterr()
    assert kept == "one two\nthree\n"
    assert said.count("is a demonstration model") == 1
    assert said.count("did not understand") == 1
