"""SIGKILL at any moment: the next run goes on, and in the end every document is there, whole."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from lithophone.transcribe.documents import TEXTS, Layout, write_document
from lithophone.transcribe.manifest import FILE_NAME, Entry
from tests.transcribe.conftest import fill, transcript_of


@pytest.mark.parametrize(("files", "kills"), [(80, 4), pytest.param(200, 10, marks=pytest.mark.slow)])
def test_a_run_that_is_killed_ends_with_every_file_whole(tmp_path: Path, files: int, kills: int) -> None:
    talks = fill(tmp_path / "talks", *(f"{number}.mp3" for number in range(files)))
    texts = tmp_path / "texts"
    draw = random.Random(7)  # noqa: S311 - when to kill is no secret
    assert all(killed(talks, texts, draw.uniform(0.0, 0.08)) for _ in range(kills))
    assert not killed(talks, texts, None)
    for number in range(files):
        for suffix in TEXTS:
            whole = write_document(transcript_of(str(number)), suffix, Layout())
            assert (texts / f"{number}.{suffix}").read_bytes() == whole
    made = Counter(place for place in lines(texts / FILE_NAME))
    assert set(made) == {str(number) for number in range(files)}
    assert max(made.values()) == 1, "a recording whose documents were in place was made again"
    assert {path.suffix for path in texts.iterdir()} <= {
        *(f".{suffix}" for suffix in TEXTS),
        ".jsonl",
        ".part",
    }


def killed(talks: Path, texts: Path, seconds: float | None) -> bool:
    """Whether the run was ended by force, so many seconds after it began; None lets it finish."""
    command = [sys.executable, "-m", "tests.transcribe.killed", str(talks), str(texts)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "go\n"
        if seconds is not None:
            time.sleep(seconds)
            process.kill()
        return process.wait(60) != 0


def lines(manifest: Path) -> list[str]:
    found: list[str] = []
    for line in manifest.read_bytes().splitlines():
        try:
            found.append(msgspec.json.decode(line, type=Entry).place)
        except msgspec.DecodeError:
            continue
    return found
