"""The systemd unit: shown first, written when that is wanted, and read by systemd's own checker where there is one."""

from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from lithophone.cli import main
from lithophone.cli.service import unit_text
from lithophone.errors import ConfigurationError
from lithophone.settings import Settings

FLAGS = ("serve", "--install-service", "--api-keys", "sk-50%$HOME", "--port", "9000")


@pytest.fixture
def unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path / "systemd" / "user" / "lithophone.service"


def test_it_is_shown_and_nothing_is_written_unless_that_is_wanted(
    unit: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(FLAGS) == 1
    told = capsys.readouterr()
    assert told.out.startswith(f"# {unit}\n[Unit]\n")
    assert "--yes" in told.err
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda _: "n")
    assert main(FLAGS) == 1
    assert not unit.exists()


def test_it_is_written_for_its_owner_alone_and_systemd_reads_it(
    unit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*FLAGS, "--yes"]) == 0
    text = unit.read_text()
    assert text in capsys.readouterr().out
    assert stat.S_IMODE(unit.stat().st_mode) == 0o600
    assert 'Environment="LITHOPHONE_API_KEYS=sk-50%%$$HOME"' in text
    assert "sk-50" not in text.split("ExecStart=")[1].splitlines()[0]
    if checker := shutil.which("systemd-analyze"):
        done = subprocess.run(
            [checker, "verify", "--user", "--man=no", str(unit)], capture_output=True, text=True, check=False
        )
        assert "lithophone.service:" not in done.stderr, done.stderr


def test_what_is_not_the_default_is_in_its_environment_and_folders_are_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "granite").mkdir()
    monkeypatch.chdir(tmp_path)
    text = unit_text(Settings(model=("granite", "granite-speech-tiny"), cpu_offload=True), "/usr/bin/python3")
    assert f'"LITHOPHONE_MODEL={tmp_path}/granite,granite-speech-tiny"' in text
    assert '"LITHOPHONE_CPU_OFFLOAD=true"' in text
    assert text.count("Environment=") == 2


def test_a_line_end_would_be_another_directive_and_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="line end"):
        unit_text(Settings(host="x\nExecStartPre=evil"), "python")
