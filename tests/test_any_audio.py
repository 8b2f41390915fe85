"""Through the HTTP door of a live server: one recording in every format, and uploads that mean harm."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.conftest import LiveServer, start_server
from tests.hostile import BOMB_SECONDS, HOSTILE_UPLOADS, HostileUpload, plant
from tests.recordings import render, run_ffmpeg

SPEECH = Path(__file__).resolve().parent.parent / "examples" / "speech"
VIDEO = (
    "-f",
    "lavfi",
    "-i",
    "color=c=blue:s=64x64:r=5",
    "-map",
    "0:a",
    "-map",
    "1:v",
    "-shortest",
    "-c:v",
    "libx264",
)

FORMATS: dict[str, tuple[str, tuple[str, ...]]] = {
    "8-bit wav": (".wav", ("-c:a", "pcm_u8")),
    "16-bit wav": (".wav", ()),
    "24-bit wav": (".wav", ("-c:a", "pcm_s24le")),
    "32-bit wav": (".wav", ("-c:a", "pcm_s32le")),
    "float wav": (".wav", ("-c:a", "pcm_f32le")),
    "8 kHz wav": (".wav", ("-ar", "8000")),
    "44.1 kHz stereo wav": (".wav", ("-ar", "44100", "-ac", "2")),
    "96 kHz wav": (".wav", ("-ar", "96000")),
    "5.1 wav": (".wav", ("-af", "pan=5.1|FL=c0|FR=c0|FC=c0|LFE=c0|BL=c0|BR=c0")),
    "mp3": (".mp3", ("-b:a", "96k")),
    "m4a": (".m4a", ("-b:a", "96k")),
    "ogg opus": (".ogg", ("-c:a", "libopus", "-b:a", "64k")),
    "flac": (".flac", ()),
    "webm": (".webm", ("-c:a", "libopus", "-b:a", "64k")),
    "mp4 video": (".mp4", (*VIDEO, "-c:a", "aac")),
    "flv": (".flv", ("-ar", "44100", "-b:a", "96k")),
    "ac3": (".ac3", ("-b:a", "192k")),
    "wavpack": (".wv", ()),
    "anti-phase stereo": (".flac", ("-af", "pan=stereo|c0=c0|c1=-1*c0")),
}


def transcribe(url: str, name: str, content: bytes, **fields: str) -> httpx.Response:
    return httpx.post(
        f"{url}/v1/audio/transcriptions",
        files={"file": (name, content)},
        data={"model": "whisper-1"} | fields,
        timeout=120,
    )


@pytest.fixture(scope="module")
def demo_wav(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("demo") / "demo.wav"
    run_ffmpeg("-i", str(SPEECH / "demo.flac"), str(path))
    return path.read_bytes()


@pytest.mark.parametrize("name", FORMATS)
def test_one_recording_gives_one_transcript_in_every_format(
    name: str, live_server: LiveServer, demo_wav: bytes, tmp_path: Path
) -> None:
    suffix, arguments = FORMATS[name]
    file = render(demo_wav, tmp_path / f"recording{suffix}", *arguments)
    answer = transcribe(live_server.url, "upload.bin", file.read_bytes())
    expected = transcribe(live_server.url, "demo.wav", demo_wav)
    assert answer.status_code == 200, answer.text
    assert answer.json()["text"] == expected.json()["text"]
    assert len(expected.json()["text"].split()) >= 3


def test_what_begins_late_in_a_video_has_late_times(
    live_server: LiveServer, demo_wav: bytes, tmp_path: Path
) -> None:
    source, video = tmp_path / "demo.wav", tmp_path / "late.mp4"
    source.write_bytes(demo_wav)
    picture = ("-f", "lavfi", "-i", "color=c=blue:s=64x64:r=5:d=6")
    streams = (*picture, "-itsoffset", "4", "-i", str(source), "-map", "0:v", "-map", "1:a")
    run_ffmpeg(*streams, "-c:v", "libx264", "-c:a", "aac", "-b:a", "96k", str(video))
    early, late = (
        transcribe(live_server.url, "upload", content, response_format="verbose_json").json()
        for content in (demo_wav, video.read_bytes())
    )
    assert late["text"] == early["text"]
    assert late["duration"] == pytest.approx(early["duration"] + 4, abs=0.1)
    starts = [
        next(segment["start"] for segment in heard["segments"] if segment["text"]) for heard in (early, late)
    ]
    assert starts[1] == pytest.approx(starts[0] + 4, abs=0.1)


def test_the_default_track_is_heard_and_told_of(
    live_server: LiveServer, demo_wav: bytes, tmp_path: Path
) -> None:
    two = ("-f", "lavfi", "-i", "anullsrc=r=16000:cl=mono:d=2", "-map", "1:a", "-map", "0:a", "-c:a", "flac")
    flags = ("-disposition:a:0", "0", "-disposition:a:1", "default")
    file = render(demo_wav, tmp_path / "two.mkv", *two, *flags)
    answer = transcribe(live_server.url, "upload", file.read_bytes())
    assert answer.json()["text"] == transcribe(live_server.url, "demo.wav", demo_wav).json()["text"]
    assert answer.headers["x-lithophone-warning"].startswith("audio_track: 2 of 2 was taken")
    silent = transcribe(live_server.url, "upload", file.read_bytes(), audio_track="1")
    assert silent.json()["text"] == ""
    assert "audio_track" not in silent.headers["x-lithophone-warning"]


@pytest.fixture(scope="module")
def guarded_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server of its own, with a temporary folder that can be looked into."""
    folder = tmp_path_factory.mktemp("spool")
    process, url = start_server(
        "--max-audio-seconds", str(BOMB_SECONDS / 2), environment={"TMPDIR": str(folder)}
    )
    yield LiveServer(url, process.pid, folder)
    process.terminate()
    process.communicate(timeout=60)


@pytest.mark.parametrize("upload", HOSTILE_UPLOADS, ids=lambda upload: upload.name)
def test_a_hostile_upload_is_refused_and_leaves_nothing_behind(
    upload: HostileUpload, guarded_server: LiveServer, tmp_path: Path
) -> None:
    plant(tmp_path)
    content = upload.build(tmp_path)
    process = psutil.Process(guarded_server.pid)
    workers, open_before = process.children(recursive=True), process.num_fds()
    answer = transcribe(guarded_server.url, upload.filename, content)
    assert answer.status_code in upload.statuses, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert str(tmp_path) not in answer.text
    assert process.children(recursive=True) == workers
    assert process.num_fds() <= open_before + 1  # the connection itself
    assert guarded_server.spool is not None
    assert list(guarded_server.spool.iterdir()) == []
