"""The command itself, small: real weights, random weights, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lithophone import cli
from lithophone.backends.device.plan import DeviceWishes
from lithophone.bench import BenchOptions, roofline
from lithophone.bench.report import BenchReport, Way, report_json
from lithophone.bench.run import measure
from lithophone.errors import CheckpointError, ConfigurationError, DoesNotFitError
from lithophone.granite.family import DEMONSTRATION_ID

SPEECH = Path(__file__).resolve().parents[2] / "examples" / "speech"


def found(**options: object) -> BenchReport:
    settings = {
        "wishes": DeviceWishes(device="cpu", dtype="float32", cpu_threads=1),
        "repeats": 1,
        "roofline": False,
        "batches": (1, 2),
        **options,
    }
    return measure(BenchOptions(**settings), lambda *_: None)  # type: ignore[arg-type]


def test_the_embedded_model_on_speech(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roofline, "TURNS", 1)
    report = found(model=DEMONSTRATION_ID, audio=(str(SPEECH),), clips=2, roofline=True)
    assert [(row.batch, row.way) for row in report.rows] == [
        (batch, way) for batch in (1, 2) for way in (Way.GENERATE, Way.PLAIN, Way.DRAFTED)
    ]
    alone, plain, drafted = report.rows[:3]
    assert alone.same_tokens == plain.same_tokens == drafted.same_tokens == 2
    assert plain.passes_per_100_tokens == 100
    assert drafted.passes_per_100_tokens <= 100
    assert all(row.same_tokens == 2 for row in report.rows if row.way is not Way.GENERATE)
    assert alone.word_error_rate is not None
    assert report.model.weights == "checkpoint"
    assert report.roofline is not None
    assert [stage.name for stage in report.roofline.stages] == ["encoder", "prefill", "decoding"]


@pytest.mark.parametrize(
    "name", ["granite-speech-3.3-2b", "granite-speech-4.1-2b", "granite-speech-4.1-2b-plus"]
)
def test_random_weights_of_a_shape(shape: Callable[[str], Path], name: str) -> None:
    report = found(model=str(shape(name)), random_weights=True, seconds=2.0, tokens=12, accuracies=(1.0, 0.0))
    _, plain, right, wrong = report.rows[:4]
    assert {row.tokens for row in report.rows} == {12, 24}
    assert all(row.same_tokens == row.clips for row in report.rows)
    assert right.passes_per_100_tokens < plain.passes_per_100_tokens == 100
    assert wrong.accepted == 0
    assert "RANDOM" in report.notes[0]
    assert any("SIMULATED" in note for note in report.notes)
    assert "joined to 2 s" in report.audio


def test_a_model_without_a_language_model_has_the_rows_that_make_sense(shape: Callable[[str], Path]) -> None:
    report = found(model=str(shape("granite-speech-5.0-470m-turboctc")), random_weights=True, seconds=2.0)
    assert [row.way for row in report.rows] == [Way.GENERATE, Way.PLAIN]
    assert report.roofline is None
    assert any("no language model" in note for note in report.notes)
    assert json.loads(report_json(report))["rows"][0]["passes"] == 0


def test_without_audio_it_hears_the_speech_of_the_package() -> None:
    report = found(model=DEMONSTRATION_ID, batches=(1,), clips=2)
    assert "comes with Lithophone" in report.audio
    assert all(row.word_error_rate is not None and row.word_error_rate < 0.5 for row in report.rows)


def test_what_cannot_be_measured_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="neither a folder"):
        found(model="./no/such/model")
    with pytest.raises(ConfigurationError, match="at most 8 s"):
        found(model=DEMONSTRATION_ID, seconds=9.0)
    with pytest.raises(ConfigurationError, match="no such file"):
        found(model=DEMONSTRATION_ID, audio=(str(tmp_path / "missing.wav"),))


def test_a_model_that_does_not_fit_is_refused_before_it_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lithophone.bench.opening._cached", lambda _: None)
    monkeypatch.setattr("lithophone.backends.memory.fits.budget_bytes", lambda *_: 1_000_000)
    with pytest.raises(DoesNotFitError, match="1 MB is free"):
        found(model="granite-speech-3.3-8b")


def test_the_command_prints_json_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    flags = [
        "--random-weights",
        "--batch",
        "1",
        "--repeats",
        "1",
        "--seconds",
        "1",
        "--tokens",
        "4",
        "--no-roofline",
    ]
    typed = ["bench", "--cpu-threads", "1", *flags, "--accuracy", "95", "--json"]
    assert cli.main(typed) == 0
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert [row["draft_accuracy"] for row in document["rows"]] == [None, None, 0.95]
    assert document["command"] == " ".join(["lithophone", *typed])
    assert printed.err == ""


@pytest.mark.parametrize(
    "flags", [["--batch", "0"], ["--batch", "1,x"], ["--accuracy", "101"], ["--repeats", "0"]]
)
def test_options_without_a_meaning_are_refused(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        cli.main(["bench", *flags])
    assert flags[0] in capsys.readouterr().err
