"""What the server's machine lacks is never the file's fault: 503, said once in the log, and by /ready while it lasts."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from lithophone.engine.shortages import LASTS_SECONDS, Shortages
from lithophone.errors import ShortageError, shortage_behind
from lithophone.http import storage
from tests.http.conftest import error_of, serving


@pytest.mark.parametrize(
    "failure",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EMFILE, "Too many open files"),
        MemoryError(),
        RuntimeError("can't start new thread"),
        ShortageError("The decoder was ended.", lacking="decoder process"),
    ],
    ids=repr,
)
def test_a_shortage_is_a_503_with_a_time_to_come_back(failure: Exception) -> None:
    with serving() as live, capture_logs() as logs:
        live.script.failure = failure
        for _ in range(3):
            response = live.transcribe()
            assert error_of(response, 503)["code"] == "server_shortage"
            assert int(response.headers["retry-after"]) > 1
        assert error_of(live.client.get("/ready"), 503)["code"] == "server_shortage"
        assert live.client.get("/health").status_code == 200
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["shortage"]


def test_one_in_the_middle_of_a_stream_is_told_and_remembered() -> None:
    with serving() as live:
        live.script.failure = MemoryError()
        live.script.seconds_before_failure = 60.0
        response = live.transcribe(stream="true")
        assert response.status_code == 200
        assert "server_shortage" in response.text
        assert live.client.get("/ready").status_code == 503


def full_disk() -> Any:
    return Path("/dev/full").open("w+b", buffering=0)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_is_no_fault_of_the_upload(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as live, monkeypatch.context() as patched:
        patched.setattr(storage.tempfile, "TemporaryFile", full_disk)
        assert error_of(live.transcribe(), 503)["code"] == "server_shortage"
        assert error_of(live.client.get("/ready"), 503)["code"] == "server_shortage"


def test_a_temporary_folder_that_vanished_is_missed_until_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    with serving() as live:
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        with capture_logs() as logs:
            assert error_of(live.client.get("/ready"), 503)["code"] == "server_shortage"
            assert error_of(live.transcribe(), 503)["code"] == "server_shortage"
        (named,) = [entry["lacking"] for entry in logs if entry["event"] == "shortage"]
        assert named.startswith("temporary folder")
        folder.mkdir()
        assert live.transcribe().status_code == 200


def test_a_shortage_is_over_when_it_was_not_met_for_a_while() -> None:
    now = [0.0]
    shortages = Shortages(lambda: now[0])
    shortages.require_none()
    with capture_logs() as logs:
        for _ in range(2):
            shortages.note("disk")
            shortages.note("threads")
    assert [entry["lacking"] for entry in logs] == ["disk", "threads"]
    with pytest.raises(ShortageError, match="disk; threads"):
        shortages.require_none()
    now[0] = LASTS_SECONDS
    shortages.require_none()


@pytest.mark.parametrize("make", [ValueError, RuntimeError, lambda: OSError(errno.ENOENT, "gone")])
def test_what_is_no_shortage_is_none(make: Callable[[], Exception]) -> None:
    assert shortage_behind(make()) is None
