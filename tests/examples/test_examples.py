"""Every example, run as its reader would run it, against a live server."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from difflib import SequenceMatcher
from pathlib import Path
from typing import Protocol

import pytest

from lithophone_client import Lithophone

EXAMPLES = Path(__file__).parents[2] / "examples"
SPOKEN = (EXAMPLES / "speech" / "demo.txt").read_text().strip()
LIKENESS = 0.75  # the embedded checkpoint is small: how well it hears is measured elsewhere


class LiveServer(Protocol):
    url: str


def run(*command: str | Path, url: str, folder: Path = EXAMPLES) -> str:
    """What the command prints; the server's address is in the environment."""
    ended = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env=os.environ | {"LITHOPHONE_URL": url},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def words(text: str) -> list[str]:
    return re.findall(r"[\w']+", text.lower())


def after(label: str, output: str) -> str:
    """The rest of the line that begins with the label."""
    found = re.search(rf"^{re.escape(label)}: (.*)$", output, re.MULTILINE)
    assert found, output
    return found[1]


@pytest.fixture(scope="session")
def heard(live_server: LiveServer) -> list[str]:
    """The words the server hears in the demo; most of them must be those that are spoken."""
    with Lithophone(live_server.url) as client:
        found = words(client.transcribe(EXAMPLES / "speech" / "demo.flac").text)
    assert SequenceMatcher(None, found, words(SPOKEN)).ratio() > LIKENESS, found
    return found


def assert_subtitles(output: str) -> None:
    assert re.search(r"^\d\d:\d\d:\d\d,\d{3} --> \d\d:\d\d:\d\d,\d{3}$", output, re.MULTILINE)


def test_openais_python_sdk(live_server: LiveServer, heard: list[str]) -> None:
    output = run(sys.executable, "openai_python.py", url=live_server.url)
    for label in ("json", "text", "stream", "done"):
        assert words(after(label, output)) == heard, label
    assert_subtitles(output)
    assert "WEBVTT\n" in output


def test_our_own_client(live_server: LiveServer, heard: list[str]) -> None:
    output = run(sys.executable, "own_client.py", url=live_server.url)
    for label in ("json", "text", "stream", "done"):
        assert words(after(label, output)) == heard, label
    assert after("ready", output) == "True"
    assert after("error", output).startswith("404: ")
    assert_subtitles(output)


def test_the_address_and_the_file_can_be_arguments(live_server: LiveServer, heard: list[str]) -> None:
    audio = EXAMPLES / "speech" / "demo.flac"
    output = run(sys.executable, "own_client.py", live_server.url, audio, url="http://127.0.0.1:9")
    assert words(after("json", output)) == heard


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl(live_server: LiveServer) -> None:
    output = run("sh", "curl.sh", url=live_server.url)
    assert output.count('"text":') >= 2
    assert '"type":"transcript.text.done"' in output
    assert "data: [DONE]" in output
    assert '"code":"model_not_found"' in output
    assert "HTTP/1.1 404" in output
    assert_subtitles(output)


@pytest.fixture(scope="session")
def javascript(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The JavaScript example with its packages, outside the source tree."""
    missing = [tool for tool in ("node", "npm") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed")
    folder = tmp_path_factory.mktemp("examples") / "openai_javascript"
    shutil.copytree(EXAMPLES / "openai_javascript", folder, ignore=shutil.ignore_patterns("node_modules"))
    run("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", url="", folder=folder)
    return folder


def test_openais_javascript_sdk(javascript: Path, live_server: LiveServer, heard: list[str]) -> None:
    audio = EXAMPLES / "speech" / "demo.flac"
    output = run("node", "transcribe.mjs", live_server.url, audio, url="", folder=javascript)
    for label in ("json", "text", "stream", "done"):
        assert words(after(label, output)) == heard, label
    assert after("error", output)
    assert_subtitles(output)


def test_the_readme_names_every_example() -> None:
    readme = (EXAMPLES / "README.md").read_text()
    missing = [
        path.name for path in EXAMPLES.iterdir() if path.name not in readme and path.name != "README.md"
    ]
    assert missing == []
