"""Whose fault the end of a decoder is, and what all of them may take."""

from __future__ import annotations

import asyncio
import errno
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from lithophone.audio.decode import decode_audio
from lithophone.audio.fence import DecoderMemory, Watched, end_from_outside
from lithophone.audio.ffmpeg import bundled_ffmpeg
from lithophone.audio.stream import DecodeLimits
from lithophone.errors import ShortageError, UndecodableAudioError
from tests.recordings import render, speech_like, wav_bytes

HUNGRY = "import time; held = bytearray(60 << 20); time.sleep(60)"


async def drain(file: BinaryIO, ffmpeg_path: str | None = None) -> None:
    async with decode_audio(file, ffmpeg_path=ffmpeg_path) as stream:
        async for _ in stream:
            pass


def imitation(folder: Path, script: str) -> str:
    path = folder / "ffmpeg"
    path.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("name", ["KILL", "TERM"])
@pytest.mark.parametrize("written", ["", f'{bundled_ffmpeg()} "$@"; '])
def test_a_decoder_ended_from_outside_is_no_fault_of_the_file(
    tmp_path: Path, name: str, written: str
) -> None:
    path = render(wav_bytes(speech_like(1.0)), tmp_path / "a.flac")
    ended = imitation(tmp_path, f"{written}kill -{name} $$")
    with path.open("rb") as file, pytest.raises(ShortageError) as failure:
        asyncio.run(drain(file, ended))
    assert f"SIG{name}" in failure.value.lacking


@pytest.mark.parametrize("code", [errno.EAGAIN, errno.ENOMEM, errno.EMFILE])
def test_a_decoder_that_cannot_start_is_no_fault_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    async def refuse(*_: Any, **__: Any) -> None:
        raise OSError(code, "none left")

    path = render(wav_bytes(speech_like(1.0)), tmp_path / "a.flac")
    monkeypatch.setattr(asyncio, "create_subprocess_exec", refuse)
    with path.open("rb") as file, pytest.raises(ShortageError, match="cannot start") as failure:
        asyncio.run(drain(file))
    assert "none left" in failure.value.lacking


def test_its_own_crash_and_its_own_limits_are() -> None:
    own = (0, 1, None, -signal.SIGSEGV, -signal.SIGABRT, -signal.SIGXCPU)
    assert [end_from_outside(code) for code in own] == [None] * len(own)


async def run_hungry(memory: DecoderMemory, count: int) -> list[tuple[int | None, Watched]]:
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", HUNGRY, start_new_session=True)
        for _ in range(count)
    ]
    with ExitStack() as stack:
        watched = [stack.enter_context(memory.watching(process.pid)) for process in processes]
        ending = [asyncio.create_task(process.wait()) for process in processes]
        await asyncio.wait(ending, return_when=asyncio.FIRST_COMPLETED, timeout=20)
        await asyncio.sleep(0.3)
        ended = [process.returncode for process in processes]
    for process in processes:
        if process.returncode is None:
            process.kill()
        await process.wait()
    return list(zip(ended, watched, strict=True))


def test_where_decoders_take_too_much_together_one_of_them_ends() -> None:
    ends = asyncio.run(run_hungry(DecoderMemory(100 << 20), 2))
    assert sorted(str(code) for code, _ in ends) == ["-9", "None"]
    assert [watched.over_memory for code, watched in ends if code] == [True]


@pytest.mark.parametrize(("resident_bytes", "expected"), [(50, UndecodableAudioError), (10, ShortageError)])
def test_only_one_that_takes_more_than_its_share_is_to_blame(
    resident_bytes: int, expected: type[Exception]
) -> None:
    assert isinstance(DecoderMemory(100).failure_of(Watched(0, resident_bytes)), expected)


def test_a_file_whose_decoder_takes_too_much_is_told(tmp_path: Path) -> None:
    path = render(wav_bytes(speech_like(1.0)), tmp_path / "a.flac")
    hungry = imitation(tmp_path, f"exec {sys.executable} -c '{HUNGRY}'")
    limits = DecodeLimits(decoder_memory=DecoderMemory(20 << 20))

    async def decode(file: BinaryIO) -> None:
        async with decode_audio(file, ffmpeg_path=hungry, limits=limits):
            pass

    with path.open("rb") as file, pytest.raises(UndecodableAudioError, match="too much memory"):
        asyncio.run(decode(file))
