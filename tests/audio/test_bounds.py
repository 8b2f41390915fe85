"""Files that claim, hold or cost too much are refused before they have cost it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithophone.audio.counting import BELIEVED_SECONDS, is_doubtful
from lithophone.audio.decode import decode_audio
from lithophone.audio.fence import FIRST_CPU_SECONDS, allowed_cpu_seconds
from lithophone.audio.sniff import Container
from lithophone.audio.stream import DecodeLimits
from lithophone.audio.structure import MAX_DEPTH, MAX_TRACKS, require_bounded
from lithophone.errors import AudioTooLongError, UndecodableAudioError
from tests.bombs import (
    TAG,
    box,
    element,
    flac_of_silence,
    m4a_of_boxes,
    m4a_of_tracks,
    matroska,
    matroska_tracks,
    nested_boxes,
    nested_tags,
)
from tests.recordings import render, speech_like, wav_bytes

HOUR = 3_600
LIMITS = DecodeLimits(max_audio_seconds=float(HOUR))


def decoded_seconds(path: Path, limits: DecodeLimits = LIMITS, ffmpeg_path: str | None = None) -> float:
    """How long a file lasts; -1 - what was given, where it is refused for its length."""

    async def run() -> float:
        given_samples = 0
        with path.open("rb") as file, suppress(AudioTooLongError):
            async with decode_audio(file, limits=limits, ffmpeg_path=ffmpeg_path) as stream:
                async for _ in stream:
                    given_samples = stream.decoded_samples
                return given_samples / 16_000
        return -1 - given_samples / 16_000

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("stated_seconds", "given_seconds"),
    [(12 * HOUR, 0), (10, 30), (0, BELIEVED_SECONDS + 30)],
    ids=["says so", "lies", "does not say"],
)
def test_twelve_hours_are_refused_before_they_are_decoded(
    tmp_path: Path, stated_seconds: int, given_seconds: float
) -> None:
    path = tmp_path / "a.flac"
    path.write_bytes(flac_of_silence(stated_seconds, 12 * HOUR))
    assert -1 - given_seconds <= decoded_seconds(path) <= -1


@pytest.mark.parametrize("stated_seconds", [1, 0, 200])
def test_what_is_longer_than_it_says_and_still_allowed_is_decoded_whole(
    tmp_path: Path, stated_seconds: int
) -> None:
    path = tmp_path / "a.flac"
    path.write_bytes(flac_of_silence(stated_seconds, 200))
    assert decoded_seconds(path) == pytest.approx(200, abs=10)


def test_a_length_is_doubted_when_it_is_passed() -> None:
    assert not is_doubtful(10.5, 10.0)
    assert is_doubtful(12.0, 10.0)
    assert not is_doubtful(BELIEVED_SECONDS, None)
    assert is_doubtful(BELIEVED_SECONDS + 2, None)


def test_processor_time_grows_with_what_was_decoded_and_with_the_file() -> None:
    assert allowed_cpu_seconds(0, 0.0) == FIRST_CPU_SECONDS
    assert allowed_cpu_seconds(10**9, 0.0) > FIRST_CPU_SECONDS + 10
    assert allowed_cpu_seconds(0, HOUR) > HOUR / 10


def test_a_decoder_that_works_and_gives_nothing_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lithophone.audio.fence.FIRST_CPU_SECONDS", 1)
    path = render(wav_bytes(speech_like(1.0)), tmp_path / "a.flac")
    busy = tmp_path / "ffmpeg"
    busy.write_text("#!/bin/sh\nwhile :; do :; done\n")
    busy.chmod(0o755)
    with pytest.raises(UndecodableAudioError, match="corrupt"):
        decoded_seconds(path, ffmpeg_path=str(busy))


def test_a_decoder_that_finds_nothing_but_faults_is_ended(tmp_path: Path) -> None:
    path = tmp_path / "a.amr"
    path.write_bytes(b"#!AMR\n" + b"\x7c" * 500_000)
    with pytest.raises(UndecodableAudioError, match="faults"):
        decoded_seconds(path)


@pytest.mark.parametrize(
    ("container", "build"),
    [
        (Container.MP4, lambda: m4a_of_boxes(250_000)),
        (Container.MP4, lambda: m4a_of_tracks(MAX_TRACKS)),
        (Container.MP4, lambda: nested_boxes(MAX_DEPTH + 2)),
        (Container.MP4, lambda: nested_boxes(100_000, b"trak")),
        (Container.MATROSKA, lambda: matroska_tracks(MAX_TRACKS + 1)),
        (Container.MATROSKA, lambda: nested_tags(100_000)),
    ],
)
def test_parts_are_counted_before_anything_is_decoded(
    container: Container, build: Callable[[], bytes]
) -> None:
    content = build()
    with pytest.raises(UndecodableAudioError, match="parts or tracks"):
        require_bounded(container, lambda at, size: content[at : at + size], len(content))


@pytest.mark.parametrize(
    ("container", "content"),
    [
        (Container.MP4, m4a_of_tracks(10)),
        (Container.MP4, nested_boxes(MAX_DEPTH - 1)),
        (Container.MP4, box(b"ftyp", b"isom") + (1).to_bytes(4) + b"mdat" + (20).to_bytes(8) + b"1234"),
        (Container.MATROSKA, matroska_tracks(MAX_TRACKS)),
        (Container.MATROSKA, matroska(element(b"\x1f\x43\xb6\x75", bytes(100)) * 1000)),
        (Container.MATROSKA, b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\xff\x1f\x43\xb6\x75\xff" + bytes(99)),
        (Container.WAV, b"RIFF"),
    ],
)
def test_what_a_recording_may_be_made_of_is_let_through(container: Container, content: bytes) -> None:
    require_bounded(container, lambda at, size: content[at : at + size], len(content))


@given(
    st.sampled_from([Container.MP4, Container.MATROSKA]),
    st.lists(
        st.one_of(
            st.binary(max_size=20),
            st.sampled_from(
                [b"moov", b"trak", b"\0\0\0\x08", b"\0\0\0\1", b"\x18\x53\x80\x67", b"\xae", TAG]
            ),
        ),
        max_size=60,
    ),
)
def test_whatever_the_parts_say_they_are_counted_to_an_end(container: Container, parts: list[bytes]) -> None:
    content = b"".join(parts)
    with suppress(UndecodableAudioError):
        require_bounded(container, lambda at, size: content[at : at + size], len(content))
