"""`lithophone transcribe` with the embedded model, in process and by a server: documents are the server's answers."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from lithophone.cli import main
from lithophone.transcribe.manifest import FILE_NAME
from tests.cli.typed import typed
from tests.conftest import LiveServer, start_server

SPEECH = Path(__file__).resolve().parents[2] / "examples" / "speech"
CLIPS = ("espeak-short-00.ogg", "flite-short-01.ogg", "festival-short-02.ogg")


@pytest.fixture
def talks(tmp_path: Path) -> Path:
    folder = tmp_path / "talks"
    (folder / "sub").mkdir(parents=True)
    for name in CLIPS:
        shutil.copy(SPEECH / name, folder / ("sub" if name is CLIPS[-1] else ".") / name)
    (folder / "broken.mp3").write_bytes(b"ID3 and nothing more")
    return folder


run = partial(typed, "transcribe")


def answer(server: LiveServer, audio: Path, response_format: str) -> bytes:
    with audio.open("rb") as file:
        return httpx.post(
            f"{server.url}/v1/audio/transcriptions",
            files={"file": file},
            data={
                "model": "whisper-1",
                "response_format": response_format,
                **(
                    {"timestamp_granularities[]": ["word", "segment"]}
                    if response_format == "verbose_json"
                    else {}
                ),
            },
            timeout=60,
        ).content


NOISY = re.compile(rb'"(?:avg_logprob|probability|no_speech_prob)":([-\d.e]+)')
"""Numbers that have other last digits in another batch."""


def same(document: bytes, other: bytes) -> bool:
    """Whether two documents are equal, noise aside."""
    numbers = [[float(number) for number in NOISY.findall(one)] for one in (document, other)]
    return NOISY.sub(b"", document) == NOISY.sub(b"", other) and numbers[0] == pytest.approx(
        numbers[1], abs=1e-3
    )


@pytest.fixture(scope="module")
def exact_server() -> Iterator[LiveServer]:
    """In float32: in 16 bits, which some processors choose, probabilities depend on what shares a pass."""
    process, url = start_server("--dtype", "float32")
    yield LiveServer(url, process.pid)
    process.terminate()
    process.communicate(timeout=60)


def test_a_folder_in_process_and_by_a_server_alike(
    exact_server: LiveServer, talks: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    common = [str(talks), "--recursive", "--output-format", "all", "--word-timestamps"]
    here = run(*common, "--output-dir", str(tmp_path / "here"), "--cpu-threads", "1", "--dtype", "float32")
    assert here.returncode == 1
    assert b"broken.mp3: " in here.stderr
    assert here.stderr.count(b"is a demonstration model") == 1
    assert here.stderr.count(b"\n") == 2, here.stderr
    assert (
        main(["transcribe", *common, "--output-dir", str(tmp_path / "there"), "--server", exact_server.url])
        == 1
    )
    there = capfd.readouterr().err
    assert there.count("is a demonstration model") == 1
    assert there.count("\n") == 2, there
    for audio in talks.rglob("*.ogg"):
        place = audio.relative_to(talks).with_suffix("")
        for suffix, response_format in (
            ("txt", "text"),
            ("srt", "srt"),
            ("vtt", "vtt"),
            ("json", "verbose_json"),
        ):
            wanted = answer(exact_server, audio, response_format)
            for folder in ("here", "there"):
                document = (tmp_path / folder / f"{place}.{suffix}").read_bytes()
                assert same(document, wanted), (folder, suffix)
        assert (tmp_path / "here" / f"{place}.tsv").read_text().startswith("start\tend\ttext\n")
    line = json.loads((tmp_path / "here" / FILE_NAME).read_text().splitlines()[0])
    assert (line["recipe"]["model"], len(line["recipe"]["revision"])) == ("granite-speech-tiny", 40)
    before = written(tmp_path / "there")
    main(["transcribe", *common, "--output-dir", str(tmp_path / "there"), "--server", exact_server.url])
    assert written(tmp_path / "there") == before, "what was there has been made again"


def written(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_standard_input_to_standard_output(
    live_server: LiveServer, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    audio = SPEECH / "demo.flac"
    assert main(["transcribe", str(audio), "--output-format", "srt", "--server", live_server.url]) == 0
    assert capfdbinary.readouterr().out == answer(live_server, audio, "srt")
    piped = run("-", "--server", live_server.url, stdin=audio.read_bytes())
    assert (piped.returncode, piped.stderr.count(b"\n")) == (0, 1)
    assert b"is a demonstration model" in piped.stderr
    assert piped.stdout.decode().strip() == audio.with_suffix(".txt").read_text().strip()


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("nothing.mp3",), "nothing.mp3 does not exist"),
        ((str(SPEECH), "--output-format", "srt"), "say --output-dir"),
        ((str(SPEECH / "demo.flac"), "--output-format", "all"), "say --output-dir"),
        ((str(SPEECH / "demo.flac"), "--language", "klingon"), "--language: "),
        ((str(SPEECH / "demo.flac"), "--temperature", "7"), "--temperature: "),
        ((str(SPEECH / "demo.flac"), "--task", "translate"), "does not translate"),
        ((str(SPEECH / "demo.flac"), "--to-language", "de"), "--task translate"),
        ((str(SPEECH / "demo.flac"), "--clip-timestamps", "2,1"), "start,end"),
        ((str(SPEECH / "demo.flac"), "--watch", "--output-dir", "x"), "--watch takes folders"),
        ((str(SPEECH / "demo.flac"), "--server", "http://127.0.0.1:9"), "cannot connect"),
        ((str(SPEECH / "demo.flac"), "--model", "./no/such/folder"), "neither a folder"),
    ],
)
def test_what_cannot_be_done_is_refused_with_what_to_type(
    flags: tuple[str, ...], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["transcribe", *flags]) == 2
    told = capsys.readouterr()
    assert reason in told.err
    assert told.out == ""


def test_a_hint_that_the_model_cannot_use_is_told_and_the_text_comes() -> None:
    done = run(str(SPEECH / "demo.flac"), "--keyword", "x", "--cpu-threads", "1")
    assert done.returncode == 0
    assert b"keywords: not used" in done.stderr
    assert done.stdout.decode().strip() == (SPEECH / "demo.txt").read_text().strip()
