"""What is read of containers beside ffmpeg: links of Ogg, boxes of MP4, headers of AVI and WAV."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithophone.audio.avi import stated_audio_seconds
from lithophone.audio.caf import is_endless
from lithophone.audio.length import guess_seconds
from lithophone.audio.mp4 import Mp4, Span
from lithophone.audio.ogg import ends_within_page, next_link
from lithophone.audio.wav_form import WavForm, describe_wav
from lithophone.errors import UndecodableAudioError
from tests.oddities import SECOND, Builder, Edit, edited, extensible, riff, wav_form, written

ReadAt = Callable[[int, int], bytes]


def reader(content: bytes) -> tuple[ReadAt, int]:
    return lambda at, size: content[at : at + size], len(content)


@pytest.fixture(scope="module")
def links(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("links")

    def link(*arguments: str) -> bytes:
        return written(".ogg", *arguments, of=SECOND)(folder)

    return {
        "mono": link("-c:a", "libopus"),
        "stereo": link("-c:a", "libopus", "-ac", "2"),
        "vorbis": link("-c:a", "libvorbis", "-ar", "44100"),
        "vorbis at 48 kHz": link("-c:a", "libvorbis", "-ar", "48000"),
    }


@pytest.mark.parametrize(
    ("chain", "changes_at"),
    [
        (("mono",), None),
        (("mono", "mono", "mono"), None),
        (("mono", "stereo"), 1),
        (("mono", "mono", "stereo", "mono"), 2),
        (("mono", "vorbis"), 1),
        (("vorbis", "vorbis at 48 kHz"), 1),
        (("vorbis", "vorbis"), None),
    ],
)
def test_the_next_link_of_another_kind_is_found(
    links: dict[str, bytes], chain: tuple[str, ...], changes_at: int | None
) -> None:
    content = b"".join(links[name] for name in chain)
    expected = None if changes_at is None else sum(len(links[name]) for name in chain[:changes_at])
    assert next_link(*reader(content), 0) == expected


def test_the_search_goes_on_behind_a_link_and_over_junk(links: dict[str, bytes]) -> None:
    mono, stereo = links["mono"], links["stereo"]
    content = mono + bytes(100_000) + stereo + mono
    assert next_link(*reader(content), 0) == len(mono) + 100_000
    assert next_link(*reader(content), len(mono) + 100_000) == len(content) - len(mono)


def test_a_page_that_is_cut_is_told(links: dict[str, bytes]) -> None:
    content = links["mono"]
    assert not ends_within_page(*reader(content))
    assert not ends_within_page(*reader(content + b"junk behind it"))
    assert ends_within_page(*reader(content[:-1]))
    last = content.rfind(b"OggS")
    assert ends_within_page(*reader(content[: last + 10]))
    assert not ends_within_page(*reader(content[:last]))
    assert not ends_within_page(*reader(b""))


@given(st.binary(max_size=300), st.integers(0, 300))
def test_no_bytes_confuse_the_reader_of_ogg(content: bytes, start: int) -> None:
    noise = b"OggS" + content + b"OggS" + content
    found = next_link(*reader(noise), start)
    assert found is None or 0 <= found < len(noise)
    ends_within_page(*reader(noise))


def mp4(tmp_path: Path, build: Builder) -> Mp4:
    return Mp4(*reader(build(tmp_path)))


def test_fragments_are_told(tmp_path: Path) -> None:
    assert not mp4(tmp_path, written(".mp4", "-c:a", "aac")).has_fragments()
    fragmented = written(".mp4", "-c:a", "aac", "-movflags", "+frag_keyframe+empty_moov")
    assert mp4(tmp_path, fragmented).has_fragments()


def test_holes_of_an_edit_list_are_found(tmp_path: Path) -> None:
    build = edited(Edit(2, None), Edit(1.5, 0), Edit(4, None), Edit(1, 1.5), Edit(3, None), suffix=".mov")
    file = mp4(tmp_path, build)
    assert file.holes(0) == (Span(3.5, 7.5), Span(8.5, 11.5))
    assert mp4(tmp_path, build).holes(1) == ()
    assert mp4(tmp_path, written(".mov")).holes(0) == ()


@given(st.binary(max_size=200), st.integers(0, 900), st.binary(min_size=1, max_size=8))
def test_no_boxes_lead_astray(tail: bytes, at: int, patch: bytes) -> None:
    content = bytearray(EDITED + tail)
    content[at : at + len(patch)] = patch
    file = Mp4(*reader(bytes(content)))
    assert all(hole.start_seconds <= hole.stop_seconds for hole in file.holes(0))
    file.has_fragments()


def _boxes() -> bytes:
    def box(kind: bytes, *content: bytes) -> bytes:
        inside = b"".join(content)
        return struct.pack(">I4s", 8 + len(inside), kind) + inside

    edits = struct.pack(">II", 0, 2) + struct.pack(">IiI", 1_000, 0, 1) + struct.pack(">IiI", 500, -1, 1)
    handler = box(b"mdia", box(b"hdlr", bytes(8), b"soun", bytes(12)))
    track = box(b"trak", box(b"edts", box(b"elst", edits)), handler)
    return box(b"ftyp", b"isom") + box(
        b"moov", box(b"mvhd", bytes(12), struct.pack(">I", 1_000), bytes(80)), track
    )


EDITED = _boxes()


def test_boxes_by_hand_are_read() -> None:
    assert Mp4(*reader(EDITED)).holes(0) == (Span(1.0, 1.5),)


def test_nested_boxes_come_to_an_end() -> None:
    content = b""
    for _ in range(20_000):
        content = struct.pack(">I4s", 8 + len(content), b"free") + content
    reads = 0

    def counting(at: int, size: int) -> bytes:
        nonlocal reads
        reads += 1
        return content[at : at + size]

    flat = struct.pack(">I4s", 8, b"free") * 20_000
    assert not Mp4(counting, len(content)).has_fragments()
    assert not Mp4(*reader(flat)).has_fragments()
    assert reads < 5_000


def test_an_avi_file_states_the_length_of_its_sound(tmp_path: Path) -> None:
    for arguments in (("-c:a", "mp3"), ("-c:a", "pcm_s16le"), ("-c:a", "aac")):
        content = written(".avi", *arguments)(tmp_path)
        assert stated_audio_seconds(reader(content)[0]) == pytest.approx(3.0, abs=0.2)


@given(st.binary(max_size=300))
def test_no_bytes_lead_the_reader_of_avi_astray(content: bytes) -> None:
    seconds = stated_audio_seconds(reader(b"RIFF\1\0\0\0AVI LIST\0\0\0\0hdrl" + content)[0])
    assert seconds is None or seconds > 0


@given(st.binary(max_size=300))
def test_no_bytes_lead_the_reader_of_caf_astray(content: bytes) -> None:
    is_endless(reader(b"caff\0\1\0\0" + content)[0])


@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"fLaC", b"OggS", b"RIFF\0\0\0\0WAVEfmt ", b"ID3\4\0\0\0\0\0\0"]),
)
def test_any_upload_has_a_length_to_count_its_place_by(content: bytes, magic: bytes) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(magic + content)
        file.flush()
        assert 0 <= guess_seconds(file.fileno()) < 10


SOUND = bytes(64_000)
FLOATS = (np.sin(np.arange(16_000) / 9) * 2**22).astype("<f4").tobytes()


@pytest.mark.parametrize(
    ("content", "decoder"),
    [
        (riff(wav_form(), SOUND), None),
        (riff(wav_form(sample_bytes=3, bits=24), SOUND), None),
        (riff(wav_form(sample_bytes=4, bits=32, tag=3), SOUND), None),
        (riff(extensible(valid_bits=20, sample_bytes=3), SOUND), None),
        (riff(extensible(valid_bits=24, sample_bytes=4), SOUND), "pcm_s32le"),
        (riff(extensible(valid_bits=16, sample_bytes=4, channels=2), SOUND), "pcm_s32le"),
        (riff(extensible(valid_bits=16, sample_bytes=3), SOUND), "pcm_s24le"),
        (riff(extensible(valid_bits=0, sample_bytes=4), SOUND), None),
        (riff(extensible(valid_bits=24, sample_bytes=4), FLOATS), "pcm_s32le"),
        (riff(wav_form(sample_bytes=4, bits=24), SOUND), "pcm_s32le"),
        (riff(wav_form(sample_bytes=4, bits=24), FLOATS), None),
        (riff(wav_form(tag=2, sample_bytes=1, bits=4), SOUND), None),
        (riff(wav_form(order=">"), SOUND, order=">"), "pcm_s16be"),
        (riff(wav_form(order=">", sample_bytes=1, bits=8), SOUND, order=">"), "pcm_u8"),
        (riff(wav_form(order=">", tag=3, sample_bytes=8, bits=64), SOUND, order=">"), "pcm_f64be"),
        (riff(wav_form(order=">", tag=7, sample_bytes=1, bits=8), SOUND, order=">"), None),
        (b"RIFF\0\0\0\0WAVE", None),
        (riff(b"short", SOUND), None),
        (riff(wav_form(channels=0), SOUND), None),
    ],
)
def test_ffmpeg_is_told_a_decoder_only_where_it_would_take_a_wrong_one(
    content: bytes, decoder: str | None
) -> None:
    assert describe_wav(*reader(content)).decoder == decoder


def test_big_endian_samples_of_another_codec_are_refused() -> None:
    content = riff(wav_form(order=">", tag=2, sample_bytes=1, bits=4), SOUND, order=">")
    with pytest.raises(UndecodableAudioError, match="big-endian"):
        describe_wav(*reader(content))


@pytest.mark.parametrize(
    ("size", "seconds"), [(None, 2.0), (96_000, 3.0), (0, None), (2**32 - 1, None), (2**31 - 1, None)]
)
def test_the_stated_length_is_that_of_the_header(size: int | None, seconds: float | None) -> None:
    content = bytearray(riff(wav_form(), SOUND))
    if size is not None:
        content[40:44] = struct.pack("<I", size)
    assert describe_wav(*reader(bytes(content))).stated_seconds == seconds


@given(st.binary(max_size=60), st.sampled_from([b"RIFF", b"RIFX", b"RF64"]))
def test_no_header_leads_astray(content: bytes, magic: bytes) -> None:
    try:
        form = describe_wav(*reader(magic + bytes(4) + b"WAVEfmt " + content))
    except UndecodableAudioError:
        return
    assert isinstance(form, WavForm)
