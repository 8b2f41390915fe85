"""Every code block of the README and of docs/ is run, or stands in the list of those that cannot be, with the reason."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from lithophone.cli import parser
from tests.conftest import LiveServer

ROOT = Path(__file__).resolve().parent.parent
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

NOT_RUN = {
    "make ": "sets up an environment, which takes minutes and the network",
    "podman ": "no container engine is at hand",
    "pip install": "takes the network",
    "lithophone bench": "tests/bench measures with fewer repeats",
    "granite-speech-3.3-2b": "downloads 6 GB",
    "lithophone doctor": "tests/test_doctor.py runs it",
    "lithophone listen": "tests/cli/test_listen.py runs it; here is no microphone",
    "lithophone models": "tests/hub/test_commands.py runs it",
    "s3://": "tests/transcribe/test_ray_archive.py has a store",
    "--hosts ray": "tests/on_ray.py runs it; here Ray need not be installed",
    "--wyoming-port": "tests/doors/test_wyoming.py runs it; here it would open the machine to the network",
}


class Block(NamedTuple):
    page: str
    line: int
    language: str
    text: str


def blocks() -> list[Block]:
    found: list[Block] = []
    for page in PAGES:
        text = page.read_text()
        for match in re.finditer(r"(?ms)^```(\w*)\n(.*?)^```$", text):
            line = text[: match.start()].count("\n") + 1
            found.append(Block(page.relative_to(ROOT).as_posix(), line, match[1], match[2]))
    return found


def of(*languages: str) -> list[Block]:
    return [block for block in blocks() if block.language in languages]


def name(block: Block) -> str:
    return f"{block.page}:{block.line}"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with what a reader has after cloning, and a `lithophone` to type."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    binaries = tmp_path / ".venv" / "bin"
    binaries.mkdir(parents=True)
    command = binaries / "lithophone"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m lithophone "$@"\n')
    command.chmod(0o755)
    return tmp_path


def environment(server: LiveServer, clone: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PATH": f"{clone / '.venv' / 'bin'}:{os.environ['PATH']}",
        "XDG_CONFIG_HOME": str(clone / "config"),
        "LITHOPHONE_CPU_THREADS": "1",
        "OPENAI_BASE_URL": f"{server.url}/v1",
        "OPENAI_API_KEY": "none",
    }


def commands(block: Block) -> list[str]:
    """The commands of a block, line by line; comments are none, and `\\` goes on."""
    lines = block.text.replace("\\\n", " ").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def reason_not_to_run(command: str) -> str | None:
    return next((reason for part, reason in NOT_RUN.items() if part in command), None)


@pytest.mark.parametrize("block", of("python"), ids=name)
def test_an_example_in_python_runs(block: Block, live_server: LiveServer, clone: Path) -> None:
    code = block.text.replace("http://127.0.0.1:8000", live_server.url)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=clone,
        env=environment(live_server, clone),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "nancy" in done.stdout


@pytest.mark.parametrize("block", of("sh"), ids=name)
def test_commands_that_are_shown_do_what_they_say(block: Block, live_server: LiveServer, clone: Path) -> None:
    for command in commands(block):
        if reason_not_to_run(command):
            continue
        if command.startswith("curl") and shutil.which("curl") is None:
            pytest.skip("curl is not installed")
        typed = as_run(command, live_server)
        done = subprocess.run(
            ["/bin/sh", "-ec", typed],
            cwd=clone,
            env=environment(live_server, clone),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, (command, done.stderr)
        if ">" in command:
            assert (clone / command.split(">")[1].strip()).stat().st_size
        elif "--output-dir" in command:
            assert len(list((clone / "texts").iterdir())) == 2 * 5 + 1
        elif "--install-service" in command:
            assert list((clone / "config").rglob("*.service"))
        else:
            assert "nancy" in done.stdout


def as_run(command: str, server: LiveServer) -> str:
    """The command by the tests' server, so that no model is loaded for each, and with fewer than a hundred recordings."""
    typed = command.replace("http://127.0.0.1:8000", server.url)
    typed = typed.replace("examples/speech ", "'examples/speech/espeak-short-0[01].ogg' ")
    if "lithophone transcribe" in typed and "--server" not in typed:
        asked, mark, rest = typed.partition(" >")
        typed = f"{asked} --server {server.url}{mark}{rest}"
    return typed


def test_every_lithophone_command_that_is_shown_can_be_typed() -> None:
    """Those that are not run too."""
    for block in of("sh"):
        for command in commands(block):
            words = command.split("#")[0].split()
            if words[0].endswith("lithophone"):
                words = words[1 : words.index(">")] if ">" in words else words[1:]
                parser().parse_args(words)


def test_every_block_says_what_it_is_and_json_is_json() -> None:
    kinds = {"sh", "python", "json", "toml", "console"}
    pictures = [block for block in blocks() if block.language not in kinds]
    assert {block.page for block in pictures} <= {"docs/architecture.md"}, [name(block) for block in pictures]
    for block in of("json"):
        json.loads(block.text)


def test_every_reason_not_to_run_something_is_needed() -> None:
    shown = "\n".join(command for block in of("sh") for command in commands(block))
    assert [part for part in NOT_RUN if part not in shown] == []


def test_links_between_pages_lead_somewhere() -> None:
    for page in (*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "clients" / "README.md"):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
