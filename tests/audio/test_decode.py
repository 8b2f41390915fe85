"""Decoding: every format of one recording gives the same audio, limits hold, and nothing is left running."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest

from lithophone.audio.decode import DecodeLimits, StoredFile, decode_audio
from lithophone.audio.ffmpeg import bundled_ffmpeg
from lithophone.audio.sniff import Container
from lithophone.audio.stream import BLOCK_BYTES, PcmStream
from lithophone.audio.transcoding import FfmpegStream
from lithophone.audio.waveform import SAMPLE_RATE, Waveform, waveform_from_pcm16
from lithophone.errors import (
    AudioTooLongError,
    ServiceError,
    ShortageError,
    UndecodableAudioError,
)
from tests.hostile import HOSTILE_UPLOADS, HostileUpload, plant, referring_mov
from tests.recordings import render, run_ffmpeg, speech_like, tone, wav_bytes

FIVE_ONE = "pan=5.1|FL=0.5*c0|FR=0.5*c0|FC=c0|LFE=0*c0|BL=0.2*c0|BR=0.2*c0"
VIDEO = ("-f", "lavfi", "-i", "color=s=64x64:d=3:r=5", "-map", "0:a", "-map", "1:v", "-c:v", "mpeg4")


@dataclass(frozen=True)
class Rendering:
    """One format of the recording, and how close its audio must stay to it."""

    name: str
    suffix: str
    arguments: tuple[str, ...]
    container: Container
    least_correlation: float
    length_tolerance_seconds: float


RENDERINGS = (
    Rendering("8-bit WAV", ".wav", ("-c:a", "pcm_u8"), Container.WAV, 0.99, 0.01),
    Rendering("16-bit WAV", ".wav", (), Container.WAV, 0.9999, 0.0),
    Rendering("24-bit WAV", ".wav", ("-c:a", "pcm_s24le"), Container.WAV, 0.9999, 0.0),
    Rendering("32-bit WAV", ".wav", ("-c:a", "pcm_s32le"), Container.WAV, 0.9999, 0.0),
    Rendering("float WAV", ".wav", ("-c:a", "pcm_f32le"), Container.WAV, 0.9999, 0.0),
    Rendering("mu-law WAV at 8 kHz", ".wav", ("-c:a", "pcm_mulaw", "-ar", "8000"), Container.WAV, 0.99, 0.01),
    Rendering("WAV at 11.025 kHz", ".wav", ("-ar", "11025"), Container.WAV, 0.999, 0.01),
    Rendering("WAV at 44.1 kHz", ".wav", ("-ar", "44100"), Container.WAV, 0.999, 0.01),
    Rendering("WAV at 96 kHz", ".wav", ("-ar", "96000"), Container.WAV, 0.999, 0.01),
    Rendering("stereo WAV", ".wav", ("-ac", "2"), Container.WAV, 0.9999, 0.0),
    Rendering("5.1 WAV", ".wav", ("-af", FIVE_ONE), Container.WAV, 0.9999, 0.0),
    Rendering("RF64", ".wav", ("-rf64", "always"), Container.WAV, 0.9999, 0.0),
    Rendering("Wave64", ".w64", (), Container.W64, 0.9999, 0.0),
    Rendering("MP3", ".mp3", ("-b:a", "64k"), Container.MP3, 0.98, 0.06),
    Rendering(
        "MP3 with ID3v2.3", ".mp3", ("-id3v2_version", "3", "-metadata", "title=x"), Container.MP3, 0.98, 0.06
    ),
    Rendering("MP2", ".mp2", ("-b:a", "96k"), Container.MP3, 0.95, 0.1),
    Rendering("M4A", ".m4a", (), Container.MP4, 0.97, 0.1),
    Rendering("M4A with its index in front", ".m4a", ("-movflags", "+faststart"), Container.MP4, 0.97, 0.1),
    Rendering("ALAC", ".m4a", ("-c:a", "alac"), Container.MP4, 0.9999, 0.0),
    Rendering("ADTS", ".aac", (), Container.ADTS, 0.97, 0.2),
    Rendering("Ogg Opus", ".ogg", ("-c:a", "libopus", "-b:a", "48k"), Container.OGG, 0.97, 0.05),
    Rendering("Ogg Vorbis", ".ogg", ("-c:a", "libvorbis"), Container.OGG, 0.95, 0.05),
    Rendering("FLAC", ".flac", (), Container.FLAC, 0.9999, 0.0),
    Rendering("WebM", ".webm", ("-c:a", "libopus", "-b:a", "48k"), Container.MATROSKA, 0.97, 0.05),
    Rendering("AIFF", ".aiff", (), Container.AIFF, 0.9999, 0.0),
    Rendering("CAF", ".caf", (), Container.CAF, 0.9999, 0.0),
    Rendering("AU", ".au", (), Container.AU, 0.9999, 0.0),
    Rendering("AMR", ".amr", ("-ar", "8000"), Container.AMR, 0.45, 0.1),
    Rendering("WMA", ".wma", (), Container.ASF, 0.9, 0.2),
    Rendering("MP4 video", ".mp4", VIDEO, Container.MP4, 0.97, 0.1),
    Rendering("Matroska video", ".mkv", (*VIDEO, "-c:a", "flac"), Container.MATROSKA, 0.9999, 0.0),
    Rendering("AVI video", ".avi", (*VIDEO, "-c:a", "pcm_s16le"), Container.AVI, 0.9999, 0.01),
    Rendering(
        "MPEG program stream",
        ".mpg",
        (*VIDEO[:-1], "mpeg2video", "-r", "25", "-c:a", "mp2"),
        Container.MPEG_PS,
        0.9,
        0.1,
    ),
    Rendering("FLV", ".flv", ("-ar", "44100"), Container.FLV, 0.97, 0.1),
    Rendering("AC-3", ".ac3", (), Container.AC3, 0.95, 0.1),
    Rendering("Enhanced AC-3", ".eac3", (), Container.EAC3, 0.95, 0.1),
    Rendering("DTS", ".dts", ("-c:a", "dca", "-strict", "-2", "-ar", "48000"), Container.DTS, 0.95, 0.1),
    Rendering("WavPack", ".wv", (), Container.WAVPACK, 0.9999, 0.0),
    Rendering("True Audio", ".tta", (), Container.TTA, 0.9999, 0.0),
    Rendering("MPEG transport stream", ".ts", (*VIDEO, "-c:a", "aac"), Container.MPEG_TS, 0.95, 0.2),
)


@pytest.fixture(autouse=True)
def nothing_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """After each test there are no more processes, descriptors or temporary files than before."""
    bundled_ffmpeg()
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    process = psutil.Process()
    descriptors = process.num_fds()
    yield
    assert process.children(recursive=True) == []
    assert process.num_fds() == descriptors
    assert list(temporary.iterdir()) == []


async def decoded(file: StoredFile, limits: DecodeLimits | None = None) -> Waveform:
    async with decode_audio(file, limits=limits) as stream:
        pcm = b"".join([block async for block in stream])
    assert stream.decoded_samples * 2 == len(pcm)
    return waveform_from_pcm16(pcm)


def decode_path(path: Path, limits: DecodeLimits | None = None) -> Waveform:
    with path.open("rb") as file:
        return asyncio.run(decoded(file, limits))


def correlation(one: Waveform, other: Waveform) -> float:
    """The best normalised correlation within 0.1 s of shift: codecs delay by some milliseconds."""
    length = min(len(one), len(other))
    spectrum = np.fft.rfft(one[:length], 2 * length) * np.conj(np.fft.rfft(other[:length], 2 * length))
    lags = np.fft.irfft(spectrum)
    near = np.concatenate((lags[:1_600], lags[-1_600:]))
    return float(near.max() / (np.linalg.norm(one[:length]) * np.linalg.norm(other[:length])))


async def whole(file: StoredFile) -> tuple[Waveform, PcmStream]:
    async with decode_audio(file) as stream:
        return waveform_from_pcm16(b"".join([block async for block in stream])), stream


RECORDING = speech_like(3.0)


@pytest.mark.parametrize("rendering", RENDERINGS, ids=lambda rendering: rendering.name)
def test_every_rendering_is_the_same_recording(tmp_path: Path, rendering: Rendering) -> None:
    path = tmp_path / f"recording{rendering.suffix}"
    with render(wav_bytes(RECORDING), path, *rendering.arguments).open("rb") as file:
        waveform, stream = asyncio.run(whole(file))
    assert stream.container is rendering.container
    assert stream.warnings == ()
    assert not isinstance(stream, FfmpegStream) or stream.passes == 1
    assert abs(len(waveform) - len(RECORDING)) <= rendering.length_tolerance_seconds * SAMPLE_RATE
    assert correlation(waveform, RECORDING) > rendering.least_correlation


def test_flac_behind_an_id3_tag_is_flac(tmp_path: Path) -> None:
    flac = render(wav_bytes(RECORDING), tmp_path / "a.flac").read_bytes()
    path = tmp_path / "tagged.flac"
    path.write_bytes(b"ID3\x04\0\0\0\x01\x10\0" + bytes(128 * 144) + flac)
    assert len(decode_path(path)) == len(RECORDING)


def test_a_cover_picture_larger_than_the_head_is_skipped(tmp_path: Path) -> None:
    cover = tmp_path / "cover.png"
    noise = ("-f", "lavfi", "-i", "nullsrc=s=200x200,geq=random(1)*255:128:128", "-frames:v", "1")
    run_ffmpeg(*noise, str(cover))
    arguments = ("-i", str(cover), "-map", "0:a", "-map", "1:v", "-c:v", "copy")
    path = render(wav_bytes(RECORDING), tmp_path / "a.mp3", *arguments)
    assert path.stat().st_size > 50_000
    assert correlation(decode_path(path), RECORDING) > 0.98


def test_an_attachment_does_not_disturb(tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("attached")
    attach = ("-c:a", "flac", "-attach", str(note), "-metadata:s:t", "mimetype=text/plain")
    path = render(wav_bytes(RECORDING), tmp_path / "a.mkv", *attach)
    assert len(decode_path(path)) == len(RECORDING)


def test_resampling_leaves_no_alias_of_what_16_khz_cannot_hold(tmp_path: Path) -> None:
    source = ("-f", "lavfi", "-i", "sine=11000:d=1:r=48000")
    path = tmp_path / "high.wav"
    run_ffmpeg(*source, str(path))
    assert np.abs(decode_path(path)[1_600:-1_600]).max() < 3 / 32_768


def test_a_voice_in_the_centre_of_5_1_stays_within_12_db(tmp_path: Path) -> None:
    centre = "pan=5.1|FL=0*c0|FR=0*c0|FC=c0|LFE=0*c0|BL=0*c0|BR=0*c0"
    path = render(wav_bytes(RECORDING), tmp_path / "a.wav", "-af", centre)
    level = np.linalg.norm(decode_path(path)) / np.linalg.norm(RECORDING)
    assert level > 10 ** (-12 / 20)


def test_the_bass_channel_is_left_out(tmp_path: Path) -> None:
    bass = "pan=5.1|FL=0*c0|FR=0*c0|FC=0*c0|LFE=c0|BL=0*c0|BR=0*c0"
    path = render(wav_bytes(RECORDING), tmp_path / "a.wav", "-af", bass)
    assert not decode_path(path).any()


def test_an_upload_in_memory_is_rolled_over_and_its_position_does_not_matter() -> None:
    with tempfile.SpooledTemporaryFile(max_size=2**20) as upload:
        upload.write(wav_bytes(RECORDING))
        assert np.array_equal(asyncio.run(decoded(upload)), asyncio.run(decoded(upload)))


def test_a_truncated_file_gives_what_came_before_the_break(tmp_path: Path) -> None:
    path = render(wav_bytes(RECORDING), tmp_path / "a.mp3")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    waveform = decode_path(path)
    assert len(RECORDING) * 0.4 < len(waveform) < len(RECORDING) * 0.6


def test_a_wav_of_unknown_length_is_not_too_long(tmp_path: Path) -> None:
    wav = bytearray(wav_bytes(RECORDING))
    wav[4:8] = wav[40:44] = b"\xff\xff\xff\xff"
    path = tmp_path / "streamed.wav"
    path.write_bytes(wav)
    assert len(decode_path(path, DecodeLimits(max_audio_seconds=10))) == len(RECORDING)


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_blocks_are_of_one_size_but_the_last(tmp_path: Path, suffix: str) -> None:
    async def block_sizes(file: StoredFile) -> list[int]:
        async with decode_audio(file) as stream:
            return [len(block) async for block in stream]

    with render(wav_bytes(speech_like(32.0)), tmp_path / f"a{suffix}").open("rb") as file:
        sizes = asyncio.run(block_sizes(file))
    assert sizes == [*[BLOCK_BYTES] * 3, 1_024_000 - 3 * BLOCK_BYTES]


@pytest.mark.parametrize("upload", HOSTILE_UPLOADS, ids=lambda upload: upload.name)
def test_a_hostile_upload_is_refused_in_plain_words(tmp_path: Path, upload: HostileUpload) -> None:
    plant(tmp_path)
    path = tmp_path / "upload"
    path.write_bytes(upload.build(tmp_path))
    with pytest.raises(ServiceError) as caught:
        decode_path(path, DecodeLimits(max_audio_seconds=60))
    assert caught.value.status in upload.statuses
    assert caught.value.param == "file"
    assert 10 < len(caught.value.message) < 300
    assert not any(word in caught.value.message for word in ("/", "ffmpeg", "fd:", "0x", "demux"))


@pytest.mark.parametrize(
    ("demuxer", "options", "upload"),
    [
        ("hls", ("-allowed_extensions", "ALL", "-extension_picky", "0"), "HLS playlist"),
        ("concat", ("-safe", "0"), "ffconcat list"),
        ("mov", ("-enable_drefs", "1", "-use_absolute_path", "1"), "QuickTime that refers to another file"),
    ],
)
def test_the_traps_are_armed(tmp_path: Path, demuxer: str, options: tuple[str, ...], upload: str) -> None:
    """An ffmpeg without our limits does open the planted file: otherwise the tests above would prove nothing."""
    plant(tmp_path)
    path = tmp_path / "trap"
    path.write_bytes(next(case for case in HOSTILE_UPLOADS if case.name == upload).build(tmp_path))
    allowed = ("-protocol_whitelist", "file", "-f", demuxer, *options, "-i", str(path))
    pcm = run_ffmpeg(*allowed, "-ac", "1", "-ar", str(SAMPLE_RATE), "-f", "s16le", "pipe:1")
    assert correlation(waveform_from_pcm16(pcm), tone(2.0)) > 0.9


def test_the_process_cannot_open_a_reference_even_if_the_demuxer_would(tmp_path: Path) -> None:
    planted = plant(tmp_path)
    path = tmp_path / "a.mov"
    path.write_bytes(referring_mov(tmp_path))
    planted.unlink()
    os.mkfifo(planted)  # opening it for reading would wait for ever
    with pytest.raises(UndecodableAudioError, match="corrupt or empty"):
        decode_path(path, DecodeLimits(stall_seconds=5))


def test_only_regular_files_are_decoded(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    descriptor = os.open(fifo, os.O_RDWR)
    with os.fdopen(descriptor, "rb", buffering=0) as file, pytest.raises(ValueError, match="regular"):
        asyncio.run(decoded(file))


def test_what_the_container_states_is_believed_before_decoding(tmp_path: Path) -> None:
    async def enter(file: StoredFile) -> None:
        async with decode_audio(file, limits=DecodeLimits(max_audio_seconds=1)):
            pytest.fail("the context was entered")

    path = render(wav_bytes(RECORDING), tmp_path / "a.flac")
    with path.open("rb") as file, pytest.raises(AudioTooLongError, match="longer than the 1 seconds"):
        asyncio.run(enter(file))


def test_audio_of_just_the_allowed_length_passes(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav_bytes(RECORDING))
    assert len(decode_path(path, DecodeLimits(max_audio_seconds=3))) == len(RECORDING)


BLOCK_OF_MATROSKA = r"printf '\243%b\201\0\0\200' '{}'"


def matroska(byte_count: int) -> str:
    """The shell command for the header of so much PCM as ffmpeg writes it: one block of Matroska, float32, mono."""
    size = (1 << 28) + 4 + byte_count
    return BLOCK_OF_MATROSKA.format("".join(f"\\0{byte:03o}" for byte in size.to_bytes(4, "big")))


def imitation(folder: Path, script: str) -> str:
    """A stand-in for ffmpeg that misbehaves."""
    path = folder / "imitation"
    path.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


async def decode_with(ffmpeg_path: str, file: StoredFile, limits: DecodeLimits) -> int:
    async with decode_audio(file, limits=limits, ffmpeg_path=ffmpeg_path) as stream:
        async for _ in stream:
            pass
    return stream.decoded_samples


STALLING = DecodeLimits(stall_seconds=0.2)


@pytest.mark.parametrize(
    ("script", "limits", "expected"),
    [
        ("sleep 60 & sleep 60", STALLING, ShortageError),
        ("exec 1>&-; sleep 60", STALLING, ShortageError),
        (f"{matroska(65_536)}; head -c 65536 /dev/zero; sleep 60", STALLING, ShortageError),
        ("kill -STOP $$", STALLING, ShortageError),
        ("while :; do :; done", STALLING, UndecodableAudioError),
        (
            f"while :; do {matroska(65_536)}; head -c 65536 /dev/zero; done",
            DecodeLimits(decode_seconds=0.4, max_audio_seconds=1e9),
            UndecodableAudioError,
        ),
    ],
    ids=["silent", "output closed", "stops halfway", "stopped", "at work", "too slow"],
)
def test_a_decoder_that_hangs_is_given_up_and_is_the_files_fault_if_it_was_at_work(
    tmp_path: Path, script: str, limits: DecodeLimits, expected: type[ServiceError]
) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav_bytes(RECORDING))
    started = time.monotonic()
    with path.open("rb") as file, pytest.raises(expected, match=r"too long|not get on"):
        asyncio.run(decode_with(imitation(tmp_path, script), file, limits))
    assert time.monotonic() - started < 5


def test_a_decoder_that_crashes_halfway_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav_bytes(RECORDING))
    crash = imitation(tmp_path, f"{matroska(1_000)}; head -c 1000 /dev/zero; kill -SEGV $$")
    with path.open("rb") as file, pytest.raises(UndecodableAudioError, match="to its end"):
        asyncio.run(decode_with(crash, file, DecodeLimits()))


def test_a_flood_of_messages_does_not_block(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav_bytes(RECORDING))
    noise = "head -c 500000 /dev/zero >&2; yes | head -c 200000 >&2"
    flood = imitation(tmp_path, f"{noise}; {matroska(6_400)}; head -c 6400 /dev/zero")
    with path.open("rb") as file:
        assert asyncio.run(decode_with(flood, file, DecodeLimits())) == 1_600


def test_output_that_is_no_matroska_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav_bytes(RECORDING))
    babble = imitation(tmp_path, "head -c 5000 /dev/zero")
    with path.open("rb") as file, pytest.raises(UndecodableAudioError, match="could not be decoded"):
        asyncio.run(decode_with(babble, file, DecodeLimits()))


def long_wav(folder: Path) -> Path:
    """So plain that only an ffmpeg that is asked for by name decodes it."""
    path = folder / "long.wav"
    path.write_bytes(wav_bytes(np.zeros(120 * SAMPLE_RATE, dtype=np.float32)))
    return path


@pytest.mark.parametrize("delay_seconds", [0.0, 0.001, 0.02, 0.2])
def test_cancelling_ends_the_process(tmp_path: Path, delay_seconds: float) -> None:
    async def hold(file: StoredFile) -> None:
        async with decode_audio(file, ffmpeg_path=bundled_ffmpeg()) as stream:
            await anext(stream)
            await asyncio.sleep(60)

    async def cancel(file: StoredFile) -> None:
        task = asyncio.create_task(hold(file))
        await asyncio.sleep(delay_seconds)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert psutil.Process().children() == []

    with long_wav(tmp_path).open("rb") as file:
        asyncio.run(cancel(file))


def test_leaving_early_ends_the_process(tmp_path: Path) -> None:
    async def read_one_block(file: StoredFile) -> int:
        async with decode_audio(file, ffmpeg_path=bundled_ffmpeg()) as stream:
            await anext(stream)
        assert psutil.Process().children() == []
        return stream.decoded_samples

    with long_wav(tmp_path).open("rb") as file:
        assert asyncio.run(read_one_block(file)) == BLOCK_BYTES // 2


def test_ffmpeg_waits_for_a_slow_consumer(tmp_path: Path) -> None:
    async def position_after_a_pause(file: StoredFile) -> int:
        async with decode_audio(file, ffmpeg_path=bundled_ffmpeg()) as stream:
            await anext(stream)
            await asyncio.sleep(0.3)
            return os.lseek(file.fileno(), 0, os.SEEK_CUR)

    with long_wav(tmp_path).open("rb") as file:
        assert asyncio.run(position_after_a_pause(file)) < 1_500_000


def test_the_time_the_consumer_takes_is_not_counted(tmp_path: Path) -> None:
    async def dawdle(file: StoredFile) -> int:
        limits = DecodeLimits(decode_seconds=1.5, stall_seconds=1.5)
        async with decode_audio(file, limits=limits, ffmpeg_path=bundled_ffmpeg()) as stream:
            async for _ in stream:
                await asyncio.sleep(0.8)
        return stream.decoded_samples

    path = tmp_path / "a.wav"
    path.write_bytes(wav_bytes(RECORDING))
    with path.open("rb") as file:
        assert asyncio.run(dawdle(file)) == len(RECORDING)


async def run_in_place_of_ffmpeg(script_path: str, file: StoredFile) -> None:
    with suppress(UndecodableAudioError):
        async with decode_audio(file, ffmpeg_path=script_path):
            pass


def test_the_process_inherits_the_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_KEY", "secret")
    path = tmp_path / "a.wav"
    path.write_bytes(wav_bytes(RECORDING))
    seen = tmp_path / "seen"
    os.mkfifo(seen)  # it may not write files
    look = imitation(tmp_path, f"(env; ls -l /proc/self/fd) > {seen}")
    descriptor = os.open(seen, os.O_RDWR)
    with path.open("rb") as file, (tmp_path / "other").open("wb") as other:
        os.set_inheritable(other.fileno(), True)  # noqa: FBT003 - positional in the standard library
        asyncio.run(run_in_place_of_ffmpeg(look, file))
    output = os.read(descriptor, 65_536).decode()
    os.close(descriptor)
    assert str(path) in output
    assert str(other.name) not in output
    assert "secret" not in output


@pytest.mark.skipif(sys.platform != "linux", reason="limits are set with prlimit")
def test_the_process_cannot_write_files(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav_bytes(RECORDING))
    writer = imitation(tmp_path, f"sleep 0.2; (echo written > {tmp_path}/new)")
    with path.open("rb") as file:
        asyncio.run(run_in_place_of_ffmpeg(writer, file))
    assert (tmp_path / "new").read_bytes() == b""
