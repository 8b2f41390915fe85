"""A live server for clients that are installed in an environment of their own, and the table of those that work.

Runs where only the clients are installed, not the server: `make test-clients` names the interpreter that has it in
`SERVER_PYTHON`, and the folder of the JavaScript clients in `CLIENTS_NODE`.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
DEMO = ROOT / "examples" / "speech" / "demo.flac"
SPOKEN = (ROOT / "examples" / "speech" / "demo.txt").read_text().strip()

SERVER_PYTHON = os.environ.get("SERVER_PYTHON", sys.executable)


class Row(NamedTuple):
    """A client that works, and with what."""

    client: str
    version: str
    tried: str


ROWS: set[Row] = set()


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    """The address of a server with the demonstration model."""
    command = [SERVER_PYTHON, "-m", "lithophone", "serve", "--port", "0", "--log-level", "error"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=_environment()) as process:
        try:
            lines = iter(process.stdout or ())
            yield next(found[0] for line in lines if (found := re.search(r"http://[\w.:]+", line)))
        finally:
            process.terminate()


def _environment() -> dict[str, str]:
    """As outside of this environment."""
    return {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}


@pytest.fixture(scope="session")
def wav(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demonstration recording as WAV."""
    soundfile = pytest.importorskip("soundfile")
    path = tmp_path_factory.mktemp("speech") / "demo.wav"
    samples, rate = soundfile.read(DEMO, dtype="int16")
    soundfile.write(path, samples, rate, subtype="PCM_16")
    return path


@pytest.fixture
def spoken() -> str:
    """What the recording says."""
    return SPOKEN


@pytest.fixture
def node(url: str) -> Any:
    """Runs a script of `node/` on the recording; what it prints, read."""

    def run(script: str) -> Any:
        folder = Path(os.environ["CLIENTS_NODE"])
        command = ["node", str(folder / script), url, str(DEMO)]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    return run


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[Any]:
    """Note down the clients that work: the test names the package, its docstring what was tried."""
    report = yield
    marker = item.get_closest_marker("clients")
    if marker is not None and marker.args and report.when == "call" and report.passed:
        package = str(marker.args[0])
        tried = (getattr(item, "function", None).__doc__ or "").strip().rstrip(".")
        ROWS.add(Row(package, _version(package), tried))
    return report


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Write the table, if every client was tried and works."""
    if exitstatus == 0 and len(ROWS) == session.testscollected > 1 and not session.config.option.keyword:
        text = README.read_text()
        lines = "\n".join(
            f"| {row.client} | {row.version} | {row.tried} |" for row in sorted(ROWS, key=_order)
        )
        table = f"| client | version | tried |\n|---|---|---|\n{lines}\n"
        README.write_text(
            re.sub(
                r"(?s)(<!-- clients -->\n).*?(<!-- /clients -->)",
                lambda found: f"{found[1]}{table}{found[2]}",
                text,
            )
        )


def _order(row: Row) -> str:
    return row.client.lower()


def _version(package: str) -> str:
    """Of an npm package where it is called `npm:…`, else of the Python package."""
    if not package.startswith("npm:"):
        return importlib.metadata.version(package)
    folder = Path(os.environ["CLIENTS_NODE"]) / "node_modules" / package.removeprefix("npm:")
    return str(json.loads((folder / "package.json").read_text())["version"])
