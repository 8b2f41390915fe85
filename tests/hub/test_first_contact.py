"""A person's first contact with IBM's weights, by the commands as they are written in the README.

`make run` in an environment that is set up already (an installation takes minutes and gigabytes; `tests/test_torch_builds.py`
has its choice), against a hub on this machine that has a small model in the layout of the real repository, and no other
network.
"""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from tests.hub.conftest import HUB_ID
from tests.hub.fake import FakeHub
from tests.hub.layouts import as_published
from tests.hub.test_commands import free_port, until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        psutil.virtual_memory().available < 9e9, reason="a model of this size is refused: it needs 7 GB"
    ),
]

ROOT = Path(__file__).parents[2]
MODEL = "granite-speech-3.3-2b"
END_SECONDS = 3.0


class Person:
    """Somebody at a terminal, in a clone that is set up, with an empty cache.

    Args:
        hub: What they can reach.
        home: Where their caches are.
        venv: What `make` finds installed.
    """

    def __init__(self, hub: FakeHub, home: Path, venv: Path) -> None:
        self.hub = hub
        self.home = home
        self.blobs = home / "hub" / f"models--{HUB_ID.replace('/', '--')}" / "blobs"
        self.url = ""
        self._venv = venv
        self.lithophone = str(venv / "bin" / "lithophone")

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        return {
            **os.environ,
            "HF_ENDPOINT": self.hub.url,
            "HF_HOME": str(self.home),
            "LITHOPHONE_PORT": str(port),
            "LITHOPHONE_CPU_THREADS": "1",
            "LITHOPHONE_DTYPE": "bfloat16",  # half the memory that the check before the download asks for
            **more,
        }

    @contextmanager
    def types(self, *command: str, **environment: str) -> Iterator[Typed]:
        """A command in the foreground of a terminal of its own."""
        there = [f"VENV={self._venv}"] if command[0] == "make" else []
        typed = Typed([*command, *there], self.environment(environment))
        try:
            yield typed
        finally:
            typed.close()

    @property
    def partial_bytes(self) -> int:
        return sum(file.stat().st_size for file in self.blobs.glob("*.incomplete"))


class Typed:
    """A command and what the terminal shows of it."""

    def __init__(self, command: list[str], environment: Mapping[str, str]) -> None:
        self._master, terminal = pty.openpty()
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        )
        os.close(terminal)
        self._parts: list[bytes] = []
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        try:
            while part := os.read(self._master, 65_536):
                self._parts.append(part)
        except OSError:  # the last who could write has gone
            return

    @property
    def shown(self) -> str:
        return b"".join(self._parts).decode(errors="replace")

    def shows(self, pattern: str) -> None:
        until(lambda: re.search(pattern, self.shown) is not None or self.process.poll() is not None)
        assert re.search(pattern, self.shown), self.shown

    def interrupt(self) -> float:
        """Ctrl-C, as a terminal sends it to all that run in it; returns the seconds until it has its prompt back."""
        everyone = psutil.Process(self.process.pid).children(
            recursive=True
        )  # workers have sessions of their own
        began = time.monotonic()
        os.killpg(self.process.pid, signal.SIGINT)
        self.process.wait(timeout=30)
        took = time.monotonic() - began
        _, left = psutil.wait_procs(everyone, timeout=30)
        assert not left
        return took

    def close(self) -> None:
        if _lives(self.process.pid):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._reading.join(timeout=5)
        os.close(self._master)


def _lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture
def person(hub: FakeHub, shape: Callable[[str], Path], tmp_path: Path) -> Person:
    hub.repositories[HUB_ID] = as_published(shape(MODEL))
    venv = tmp_path / "venv"
    venv.mkdir()
    (venv / "bin").mkdir()
    script = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]["lithophone"].split(
        ":"
    )
    command = venv / "bin" / "lithophone"  # as pip writes it
    command.write_text(
        "#!{}\nimport sys\nfrom {} import {}\nsys.exit({}())\n".format(sys.executable, *script, script[1])
    )
    command.chmod(0o755)
    (venv / ".installed").touch()
    return Person(hub, tmp_path / "home", venv)


def test_from_an_empty_cache_to_a_transcript_and_again_without_a_network(person: Person) -> None:
    run = ("make", "run", f"ARGS=--model {MODEL}")
    hub = person.hub
    hub.pause_seconds = 0.04
    with person.types(*run) as first:
        first.shows(r"\d [kM]B/s")
        ready = httpx.get(f"{person.url}/ready")
        assert first.interrupt() < END_SECONDS
    assert ready.status_code == 503
    assert re.search(r"downloaded: \d+\.\d of \d+\.\d MB", ready.text), ready.text
    assert "downloading granite-speech-3.3-2b" in first.shown
    told = " ".join(first.shown.split())  # a terminal breaks lines
    assert re.search(
        r"stopped with \d\.\d of \d\.\d MB of granite-speech-3\.3-2b downloaded; the next start", told
    )
    assert "HTTP Request" not in first.shown
    assert "httpx" not in first.shown
    assert "Traceback" not in first.shown

    kept = person.partial_bytes
    hub.pause_seconds, hub.sent_bytes = 0.0, 0
    whole = sum(len(hub.repositories[HUB_ID][name]) for name in _large(hub))
    with person.types(*run) as second:
        second.shows(r"http://\S+")
        assert _heard(person.url)
        (model, *_) = httpx.get(f"{person.url}/v1/models").json()["data"]
        assert (model["id"], model["lithophone"]["revision"]) == (MODEL, hub.commit(HUB_ID))
        assert second.interrupt() < END_SECONDS
    assert hub.commit(HUB_ID) in second.shown
    assert kept > 100_000
    assert (
        hub.sent_bytes <= whole - kept + 100_000
    )  # the small files, and what a broken connection had under way
    assert not list(person.blobs.glob("*.incomplete"))

    hub.asked.clear()
    for environment in ({"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}):
        with person.types(*run, **environment) as offline:
            offline.shows(r"http://127\.0\.0\.1:(?!9\b)\d+")
            assert _heard(person.url)
            assert offline.interrupt() < END_SECONDS
    assert not hub.asked


def _large(hub: FakeHub) -> list[str]:
    names = [name for name in hub.repositories[HUB_ID] if name.endswith(".safetensors")]
    return [name for name in names if "-of-00003" not in name]


def _heard(url: str) -> bool:
    with (ROOT / "examples" / "speech" / "demo.flac").open("rb") as audio:
        answer = httpx.post(
            f"{url}/v1/audio/transcriptions", data={"model": "whisper-1"}, files={"file": audio}, timeout=120
        )
    return answer.status_code == 200 and "text" in answer.json()


@pytest.mark.parametrize("seconds", [0.3, 1.0, 2.5, 4.0])
def test_ctrl_c_ends_it_at_any_moment_of_the_start(seconds: float, person: Person) -> None:
    person.hub.pause_seconds = 0.05
    with person.types("make", "run", f"ARGS=--model {MODEL}") as typed:
        time.sleep(seconds)
        took = typed.interrupt()
    assert took < END_SECONDS, typed.shown
    assert "Traceback" not in typed.shown


def test_ctrl_c_ends_it_while_the_hub_says_nothing(person: Person) -> None:
    person.hub.silent = True
    with person.types("make", "run", f"ARGS=--model {MODEL}") as typed:
        until(lambda: bool(person.hub.asked))
        assert typed.interrupt() < END_SECONDS, typed.shown


def test_a_silent_hub_ends_it_in_one_line_that_says_what_to_do(person: Person) -> None:
    person.hub.silent = True
    with person.types("make", "run", f"ARGS=--model {MODEL}") as typed:
        until(lambda: bool(person.hub.asked))
        began = time.monotonic()
        typed.process.wait(timeout=40)
    assert time.monotonic() - began < 15.0
    assert re.search(
        r"lithophone: .*cannot be reached \(no answer in 10 s\): check the connection", typed.shown
    )


def test_a_download_that_was_killed_goes_on_where_it_was(person: Person) -> None:
    person.hub.pause_seconds = 0.02
    with person.types("make", "run", f"ARGS=--model {MODEL}") as typed:
        until(lambda: person.partial_bytes > 200_000)
        os.killpg(typed.process.pid, signal.SIGKILL)
        typed.process.wait()
    person.hub.pause_seconds, person.hub.sent_bytes = 0.0, 0
    kept = person.partial_bytes
    whole = sum(len(person.hub.repositories[HUB_ID][name]) for name in _large(person.hub))
    with person.types("make", "run", f"ARGS=--model {MODEL}") as typed:
        typed.shows(r"http://\S+")
        typed.interrupt()
    assert person.hub.sent_bytes <= whole - kept + 100_000
    assert not list(person.blobs.glob("*.incomplete"))


def test_a_pull_that_is_stopped_goes_on_and_a_list_says_what_is_here(person: Person) -> None:
    person.hub.pause_seconds = 0.04
    with person.types(person.lithophone, "pull", MODEL) as typed:
        typed.shows(r"\d [kM]B/s")
        assert typed.interrupt() < END_SECONDS
        assert typed.process.returncode == 130
    assert "stopped; the next pull goes on from here" in typed.shown
    assert "Traceback" not in typed.shown
    kept = person.partial_bytes
    person.hub.pause_seconds, person.hub.sent_bytes = 0.0, 0
    with person.types(person.lithophone, "pull", MODEL) as typed:
        typed.process.wait(timeout=120)
    assert f"checked, revision {person.hub.commit(HUB_ID)}" in " ".join(typed.shown.split()).replace("\r", "")
    assert (
        person.hub.sent_bytes
        <= sum(len(person.hub.repositories[HUB_ID][n]) for n in _large(person.hub)) - kept + 100_000
    )
    with person.types(person.lithophone, "models", "--json") as typed:
        typed.process.wait(timeout=120)
    assert person.hub.commit(HUB_ID) in typed.shown
