from __future__ import annotations

import io
import itertools
from types import SimpleNamespace

import pytest
from rich.console import Console

from lithophone.downloads import DownloadDisplay
from lithophone.hub.progress import Fetched

GB = 1_000_000_000


def test_a_terminal_sees_one_line_that_moves() -> None:
    page = io.StringIO()
    console = Console(file=page, force_terminal=True, width=120, color_system=None)
    with DownloadDisplay("granite-speech-3.3-2b", console) as display:
        for done in range(1, 7):
            display.show(Fetched(done * GB, 6 * GB))
    for words in ("downloading granite-speech-3.3-2b", "6.0/6.0 GB"):
        assert words in page.getvalue()
    assert page.getvalue().count("\n") == 1


def test_a_log_gets_a_line_every_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds, lines = itertools.count(), list[str]()
    monkeypatch.setattr(
        "lithophone.downloads.log", SimpleNamespace(info=lambda *_, done, **__: lines.append(done))
    )
    with DownloadDisplay("m", Console(file=io.StringIO()), clock=lambda: next(seconds) / 2) as display:
        for done in range(30):
            display.show(Fetched(done * GB, 30 * GB))
    assert lines == ["0.0 of 30.0 GB", "20.0 of 30.0 GB"]
