"""Fixtures every layer may use: a live server on a real port, and the family's shapes on disk."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import pytest
import torch
from hypothesis import settings

from tests.shapes import SHAPES

settings.register_profile("lithophone", deadline=None)  # a loaded machine is no failure
settings.load_profile("lithophone")

torch.set_num_threads(
    1
)  # small models: threads that wait for each other on few cores take minutes for seconds
os.environ["OMP_NUM_THREADS"] = "1"
CACHES = tempfile.TemporaryDirectory()  # nothing of a test stays in the caches of whoever runs it
os.environ["XDG_CACHE_HOME"] = CACHES.name
collect_ignore = (
    [] if importlib.util.find_spec("playwright") else ["page"]
)  # a browser's tests: make test-page
if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # as of jobs in the background; what tests start would ignore it, too
    signal.signal(signal.SIGINT, signal.default_int_handler)
ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 120.0


class LiveServer(NamedTuple):
    """`lithophone serve` in a process of its own, serving the embedded checkpoint."""

    url: str
    pid: int
    spool: Path | None = None


def start_server(*flags: str, environment: dict[str, str] | None = None) -> tuple[subprocess.Popen[str], str]:
    """Start the command a user would type, on a free port, and wait until it says it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-m", "lithophone", "serve", "--port", "0", "--cpu-threads", "1", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "error::ResourceWarning", **(environment or {})},
    )
    timer = threading.Timer(START_SECONDS, process.kill)
    timer.start()
    try:
        return process, _announced_url(process)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    finally:
        timer.cancel()


def _announced_url(process: subprocess.Popen[str]) -> str:
    stderr = _collected(process.stderr)
    for line in process.stdout or ():
        if found := re.search(r"https?://\S+", line):
            return found.group()
    process.wait()
    raise RuntimeError("".join(stderr))


def _collected(stream: IO[str] | None) -> list[str]:
    """Lines of a stream, read in the background so that the process never blocks on a full pipe."""
    lines: list[str] = []
    threading.Thread(target=lambda: lines.extend(stream or ()), daemon=True).start()
    return lines


@pytest.fixture(scope="session")
def live_server() -> Iterator[LiveServer]:
    process, url = start_server()
    yield LiveServer(url, process.pid)
    process.terminate()
    process.communicate(timeout=60)


@pytest.fixture(scope="session")
def shape(tmp_path_factory: pytest.TempPathFactory) -> ShapeFolders:
    return ShapeFolders(tmp_path_factory.mktemp("shapes"))


class ShapeFolders:
    """Random-weight checkpoints, each made when first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, name: str) -> Path:
        path = self._folder / name
        return path if path.exists() else SHAPES[name](path)
