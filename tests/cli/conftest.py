"""Commands run inside of the tests' process leave nothing behind: no logging, no environment."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def nothing_stays_behind(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("lithophone.cli.configure_logging", lambda *_: None)
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)
