"""The client's README, run as its reader would run it, against a live server; skipped where there is none to start."""

from __future__ import annotations

import inspect
import re
import runpy
import shutil
from pathlib import Path
from typing import Protocol

import pytest

from lithophone_client import Lithophone

pytest.importorskip("lithophone")

ROOT = Path(__file__).parents[2]
README = (ROOT / "clients" / "README.md").read_text()
EXAMPLES = re.findall(r"(?s)```python\n(.*?)```", README)


class LiveServer(Protocol):
    url: str


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the examples find their recording."""
    shutil.copy(ROOT / "examples" / "speech" / "demo.flac", tmp_path / "talk.flac")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def text(live_server: LiveServer, folder: Path) -> str:
    """What the server hears in the recording."""
    with Lithophone(live_server.url) as client:
        return client.transcribe(folder / "talk.flac").text


@pytest.mark.parametrize(
    ("example", "and_then"),
    [
        pytest.param(EXAMPLES[0], r"\d\.\d\d to \d\.\d\d s: \w+\n", id="sync"),
        pytest.param(EXAMPLES[1], r"\Z", id="stream"),
        pytest.param(EXAMPLES[2], r"\nWEBVTT\n\n\d\d:\d\d", id="async"),
        pytest.param(EXAMPLES[3], r"1\n00:00:0\d,\d{3} --> (?s:.*)\n\nWEBVTT\n", id="subtitles"),
    ],
)
def test_an_example_prints_the_text(
    live_server: LiveServer,
    folder: Path,
    *,
    text: str,
    example: str,
    and_then: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    script = folder / "example.py"
    script.write_text(example.replace("http://127.0.0.1:8000", live_server.url))
    runpy.run_path(str(script))
    assert re.match(f"{re.escape(text)}\n{and_then}", capsys.readouterr().out)


def test_no_example_and_no_method_is_left_out() -> None:
    assert len(EXAMPLES) == 4
    methods = [name for name, _ in inspect.getmembers(Lithophone, inspect.isfunction) if name[0] != "_"]
    assert [name for name in methods if f"`{name}`" not in README and name != "close"] == []
