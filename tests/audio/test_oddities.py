"""Files that are easily misread: what is decoded lies where it belongs, and what is missing is told."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from lithophone.audio.decode import decode_audio
from lithophone.audio.stream import PcmStream
from lithophone.audio.transcoding import FfmpegStream
from lithophone.audio.waveform import SAMPLE_RATE, Waveform, waveform_from_pcm16
from lithophone.errors import InvalidRequestError, UndecodableAudioError
from tests.oddities import FIRST, SECOND, Oddity, oddities, tracks, written
from tests.recordings import likeness, run_ffmpeg, wav_bytes

SECONDS_OFF = 0.35  # codecs pad; bare frames have priming


async def _decode(path: Path, audio_track: int | None = None) -> tuple[Waveform, PcmStream]:
    with path.open("rb") as file:
        async with decode_audio(file, audio_track=audio_track) as stream:
            return waveform_from_pcm16(b"".join([block async for block in stream])), stream


def decode(path: Path, audio_track: int | None = None) -> tuple[Waveform, PcmStream]:
    return asyncio.run(_decode(path, audio_track))


@pytest.mark.parametrize("oddity", oddities(), ids=lambda oddity: oddity.name)
def test_every_sound_is_at_its_place(tmp_path: Path, oddity: Oddity) -> None:
    path = tmp_path / "file"
    path.write_bytes(oddity.build(tmp_path))
    waveform, stream = decode(path)
    assert abs(len(waveform) - len(oddity.sound)) <= SECONDS_OFF * SAMPLE_RATE
    assert not oddity.sound.any() or likeness(waveform, oddity.sound) > oddity.least_likeness
    assert oddity.sound.any() or not waveform.any()
    assert re.search(oddity.told, " ".join(stream.warnings))
    assert oddity.told or not stream.warnings
    assert (stream.passes if isinstance(stream, FfmpegStream) else 0) == oddity.passes


def saved(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "upload"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_track_can_be_asked_for(tmp_path: Path, number: int) -> None:
    sounds = (FIRST, SECOND, FIRST[::-1])
    default = ("-c:a", "aac", "-disposition:a:1", "default")
    path = saved(tmp_path, tracks(".mkv", *default, sounds=sounds)(tmp_path))
    waveform, stream = decode(path, number)
    assert likeness(waveform, sounds[number - 1]) > 0.9
    assert stream.warnings == ()
    assert isinstance(stream, FfmpegStream)
    assert stream.passes == 1


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mkv"])
def test_a_track_that_is_not_there_is_refused(tmp_path: Path, suffix: str) -> None:
    path = saved(tmp_path, written(suffix)(tmp_path))
    assert len(decode(path, 1)[0]) == pytest.approx(len(FIRST), abs=8_000)
    with pytest.raises(InvalidRequestError, match="no audio track 2; the file has 1") as caught:
        decode(path, 2)
    assert caught.value.param == "audio_track"


def test_the_codec_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = saved(tmp_path, written(".mkv", "-c:a", "dfpwm")(tmp_path))
    with pytest.raises(UndecodableAudioError, match="does not read: dfpwm"):
        decode(path)


def test_a_track_asked_for_is_not_replaced_by_another(tmp_path: Path) -> None:
    codecs = ("-c:a:0", "dfpwm", "-c:a:1", "aac")
    path = saved(tmp_path, tracks(".mkv", *codecs, sounds=(FIRST, SECOND))(tmp_path))
    with pytest.raises(UndecodableAudioError, match="does not read: dfpwm"):
        decode(path, 1)
    assert likeness(decode(path, 2)[0], SECOND) > 0.9


def test_if_no_track_can_be_decoded_the_first_is_named(tmp_path: Path) -> None:
    codecs = ("-c:a:0", "pcm_s64le", "-c:a:1", "dfpwm")
    path = saved(tmp_path, tracks(".mkv", *codecs, sounds=(FIRST, SECOND))(tmp_path))
    with pytest.raises(UndecodableAudioError, match="does not read: pcm_s64le"):
        decode(path)


PIPED = (
    "wav",
    "au",
    "caf",
    "flac",
    "mp3",
    "adts",
    "ac3",
    "ogg",
    "matroska",
    "avi",
    "flv",
    "mpegts",
    "asf",
    "wv",
)


@pytest.mark.parametrize("muxer", PIPED)
def test_what_was_written_to_a_pipe_is_whole(tmp_path: Path, muxer: str) -> None:
    source = tmp_path / "source.wav"
    source.write_bytes(wav_bytes(FIRST))
    path = saved(tmp_path, run_ffmpeg("-i", str(source), "-ar", "44100", "-f", muxer, "pipe:1"))
    waveform, stream = decode(path)
    assert likeness(waveform, FIRST) > 0.9
    assert stream.warnings == ()
