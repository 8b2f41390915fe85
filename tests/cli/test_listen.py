"""`lithophone listen` with the embedded model: in process, by a server, and what goes wrong."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import soundfile

from tests.cli.typed import typed
from tests.conftest import LiveServer

SPEECH = Path(__file__).resolve().parents[2] / "examples" / "speech"
CLIP = SPEECH / "flite-short-01.ogg"
RATE = 16_000


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    samples, rate = soundfile.read(CLIP, dtype="int16")
    path = tmp_path_factory.mktemp("talk") / "talk.wav"
    soundfile.write(path, samples, rate, subtype="PCM_16")
    assert rate == RATE
    return path


listen = partial(typed, "listen")


def test_a_file_is_heard_by_a_model_in_this_process_as_by_a_server(
    talk: Path, tmp_path: Path, live_server: LiveServer
) -> None:
    subtitles = tmp_path / "talk.srt"
    here = listen(str(talk), "--format", "srt", "--output", str(subtitles))
    there = listen(str(talk), "--server", live_server.url)
    assert (here.returncode, there.returncode) == (0, 0), (here.stderr, there.stderr)
    assert here.stdout == b""
    said = there.stdout.decode().strip()
    assert len(said.split()) > 3
    number, times, *lines = subtitles.read_text().strip().splitlines()
    assert number == "1"
    assert " --> " in times
    assert " ".join(lines) == said
    assert b"demonstration model" in here.stderr
    assert b"lithophone: " in here.stderr


def test_samples_come_on_standard_input(talk: Path, live_server: LiveServer) -> None:
    samples, _ = soundfile.read(talk, dtype="int16")
    heard = listen("-", "--rate", str(RATE), "--server", live_server.url, stdin=samples.tobytes())
    assert heard.returncode == 0, heard.stderr
    assert heard.stdout == listen(str(talk), "--server", live_server.url).stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--model", "no-such-model"), "lithophone: 'no-such-model' is neither"),
        (
            ("--output", "no-such-folder/talk.srt"),
            "lithophone: no-such-folder/talk.srt cannot be written: No such",
        ),
    ],
)
def test_what_fails_is_one_line(talk: Path, arguments: tuple[str, ...], said: str) -> None:
    done = listen(*arguments, str(talk))
    assert done.returncode == 2
    (*_, last) = done.stderr.decode().strip().splitlines()
    assert last.startswith(said)
    assert "Traceback" not in done.stderr.decode()


def test_a_source_that_is_not_there_is_said_before_a_model_is_loaded() -> None:
    done = listen("talk.wav", "--log-level", "info")
    assert done.returncode == 2
    assert done.stderr.decode() == "lithophone: talk.wav cannot be read: No such file or directory\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
def test_a_full_disk_is_one_line(talk: Path) -> None:
    done = listen(str(talk), "--output", "/dev/full")
    assert done.returncode == 2
    (*_, last) = done.stderr.decode().strip().splitlines()
    assert last == "lithophone: /dev/full cannot be written: No space left on device"
    assert "Traceback" not in done.stderr.decode()


def test_no_server_is_said(talk: Path) -> None:
    done = listen(str(talk), "--server", "http://127.0.0.1:9")
    assert done.returncode == 2
    assert done.stderr.decode().startswith("lithophone: cannot connect to http://127.0.0.1:9: ")
