"""`pull` and `models` beside a hub, and the server that fetches its model by itself."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from lithophone import listing
from lithophone.backends.device.plan import DeviceWishes
from lithophone.backends.memory.table import family_fit_table
from lithophone.errors import CheckpointError
from lithophone.hub.cache import Repository
from lithophone.hub.fetching import fetch_config, fetch_model
from lithophone.pulling import pull
from tests.hub.conftest import HUB_ID, published
from tests.hub.fake import FakeHub
from tests.machines import CPU_BUILD

OURS = "acme/granite-speech-3.3-2b-small"
WAIT_SECONDS = 120.0


def test_pull_fetches_checks_and_says_what_there_is(hub: FakeHub) -> None:
    line = pull("granite-speech-3.3-2b", "main")
    assert line.startswith("granite-speech-3.3-2b: 0.00 GB, checked, revision")
    assert hub.commit(HUB_ID) in line
    assert "Apache-2.0" in line


def test_pull_mends_what_is_damaged(hub: FakeHub, repository: Repository) -> None:
    name = "model-00001-of-00003.safetensors"
    blob = (fetch_model(repository).path / name).resolve()
    blob.write_bytes(b"x" * blob.stat().st_size)
    hub.asked.clear()
    pull("granite-speech-3.3-2b", "main")
    assert blob.read_bytes() == published()[name]
    assert hub.asked_for_files() == {name}


def test_pull_has_nothing_to_do_for_a_folder(tmp_path: Path) -> None:
    assert "is on this machine already" in pull("granite-speech-tiny", "main")
    with pytest.raises(CheckpointError, match="neither a folder"):
        pull(str(tmp_path / "none"), "main")


def _page() -> str:
    rows = family_fit_table(CPU_BUILD, DeviceWishes())
    console = Console(width=140, color_system=None)
    with console.capture() as captured:
        console.print(listing.render(tuple(listing.list_models(rows))))
    return captured.get()


def _row(page: str, model: str) -> str:
    return next(line for line in page.splitlines() if line.strip().startswith(f"{model} "))


def test_the_list_says_what_is_here(hub: FakeHub, repository: Repository) -> None:
    assert " no " in _row(_page(), "granite-speech-3.3-2b")
    fetch_config(repository)
    assert f"in part, 0.0 GB {hub.commit(HUB_ID)[:8]}" in _row(_page(), "granite-speech-3.3-2b")
    fetch_model(repository)
    assert f" 0.0 GB {hub.commit(HUB_ID)[:8]}" in _row(_page(), "granite-speech-3.3-2b")
    assert "in the package" in _row(_page(), "granite-speech-tiny")
    assert "CC-BY-NC-SA-4.0" in _row(_page(), "granite-speech-5.0-470m-turboctc-nc")


@contextmanager
def started(hub: FakeHub, cache: Path, port: int = 0) -> Iterator[subprocess.Popen[str]]:
    """`lithophone serve` of a model that this hub has, ended at the end."""
    environment = {**os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(cache)}
    command = [
        sys.executable,
        "-m",
        "lithophone",
        "serve",
        "--port",
        str(port),
        "--cpu-threads",
        "1",
        "--model",
        OURS,
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def ready_url(process: subprocess.Popen[str]) -> str:
    for line in process.stdout or ():
        if found := re.search(r"http://\S+", line):
            return found.group()
    raise AssertionError((process.stderr or sys.stdin).read())


def test_a_first_start_that_is_stopped_in_the_middle_goes_on_from_there(
    hub: FakeHub, shape: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = shape("granite-speech-3.3-2b")
    hub.repositories[OURS] = {file.name: file.read_bytes() for file in folder.iterdir()}
    hub.pause_seconds = 0.01
    cache = tmp_path / "home"
    blobs = cache / "hub" / "models--acme--granite-speech-3.3-2b-small" / "blobs"
    port = free_port()
    with started(hub, cache, port) as process:
        until(lambda: any(file.stat().st_size > 100_000 for file in blobs.glob("*.incomplete")))
        answer = httpx.get(f"http://127.0.0.1:{port}/ready")
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)
    hub.pause_seconds = 0.0
    assert answer.status_code == 503
    assert re.search(r"still being downloaded: \d+\.\d of \d+\.\d MB", answer.text)
    assert not hub.ranges
    with started(hub, cache) as process:
        url = ready_url(process)
        (model,) = (
            one for one in httpx.get(f"{url}/v1/models").json()["data"] if one["id"] == OURS.split("/")[1]
        )
        assert model["lithophone"]["revision"] == hub.commit(OURS)
        process.send_signal(signal.SIGINT)
    assert hub.ranges
    assert not list(blobs.glob("*.incomplete"))
