from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lithophone.audio.sniff import HEAD_BYTES, Container, id3_tag_bytes, sniff_container
from lithophone.errors import UndecodableAudioError, UnsupportedMediaError

MP3_FRAME = b"\xff\xfb\x90\x00" + bytes(413)  # MPEG-1 layer III, 128 kb/s, 44.1 kHz: 417 bytes
MP3_V2_FRAME = b"\xff\xf3\x84\xc0" + bytes(188)  # MPEG-2 layer III, 64 kb/s, 24 kHz: 192 bytes
LAYER_ONE_FRAME = b"\xff\xff\xc4\x00" + bytes(380)  # MPEG-1 layer I, 384 kb/s, 48 kHz: 384 bytes
AC3_FRAME = b"\x0b\x77\0\0\x14\x40" + bytes(762)  # 192 kb/s, 48 kHz: 768 bytes
AC3_44_FRAME = b"\x0b\x77\0\0\x55\x40" + bytes(830)  # 192 kb/s, 44.1 kHz, padded: 836 bytes
EAC3_FRAME = b"\x0b\x77\x01\x7f\x34\x80" + bytes(762)  # 384 words
ADTS_FRAME = b"\xff\xf1\x50\x80\x06\x3f\xfc" + bytes(42)  # 49 bytes


def tag(size: int, *, flags: int = 0) -> bytes:
    lengths = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x04\0" + bytes([flags]) + lengths


@pytest.mark.parametrize(
    ("head", "container"),
    [
        (b"RIFF\0\0\0\0WAVEfmt ", Container.WAV),
        (b"RIFX\0\0\0\0WAVEfmt ", Container.WAV),
        (b"RF64\xff\xff\xff\xffWAVEds64", Container.WAV),
        (b"BW64\xff\xff\xff\xffWAVEds64", Container.WAV),
        (b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb", Container.W64),
        (MP3_FRAME * 4, Container.MP3),
        (MP3_V2_FRAME * 4, Container.MP3),
        (LAYER_ONE_FRAME * 4, Container.MP3),
        (MP3_FRAME, Container.MP3),
        (b"junk of a broadcast" + MP3_FRAME * 4, Container.MP3),
        (tag(20) + bytes(20) + MP3_FRAME * 4, Container.MP3),
        (tag(20) + bytes(20) + bytes(500) + MP3_FRAME * 4, Container.MP3),
        (tag(10**6) + bytes(HEAD_BYTES), Container.MP3),
        (tag(20) + bytes(20) + b"fLaC\0", Container.FLAC),
        (tag(5) + bytes(5) + tag(7) + bytes(7) + b"fLaC\0", Container.FLAC),
        (tag(0) * 5_000 + b"fLaC\0", Container.FLAC),
        (tag(20) + bytes(20) + ADTS_FRAME * 4, Container.ADTS),
        (ADTS_FRAME * 4, Container.ADTS),
        (b"fLaC\0\0\0\x22", Container.FLAC),
        (b"OggS\0\x02", Container.OGG),
        (b"\0\0\0\x1cftypM4A ", Container.MP4),
        (b"\0\0\0\x14ftypqt  ", Container.MP4),
        (b"\0\0\0\x18ftyp3gp4", Container.MP4),
        (b"\0\0\0\x08wide\0\0\0\0mdat", Container.MP4),
        (b"\0\0\x10\0moov", Container.MP4),
        (b"\x1a\x45\xdf\xa3\x9f\x42\x82\x84webm", Container.MATROSKA),
        (b"\x1a\x45\xdf\xa3\xa3\x42\x82\x88matroska", Container.MATROSKA),
        (b"#!AMR\n\x3c", Container.AMR),
        (b"#!AMR-WB\n\x3c", Container.AMR),
        (b"FORM\0\0\0\0AIFFCOMM", Container.AIFF),
        (b"FORM\0\0\0\0AIFCFVER", Container.AIFF),
        (b"caff\0\x01\0\0", Container.CAF),
        (b".snd\0\0\0\x18", Container.AU),
        ((b"G" + bytes(187)) * 4, Container.MPEG_TS),
        ((bytes(4) + b"G" + bytes(187)) * 4, Container.MPEG_TS),
        (b"\0\0\x01\xba\x44\0", Container.MPEG_PS),
        (b"RIFF\0\0\0\0AVI LIST", Container.AVI),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9", Container.ASF),
        (b"FLV\x01\x05", Container.FLV),
        (AC3_FRAME * 4, Container.AC3),
        (AC3_44_FRAME * 4, Container.AC3),
        (EAC3_FRAME * 4, Container.EAC3),
        (b"\x7f\xfe\x80\x01\xfc", Container.DTS),
        (b"\xfe\x7f\x01\x80", Container.DTS),
        (b"\x1f\xff\xe8\x00\x07", Container.DTS),
        (b"\xff\x1f\x00\xe8", Container.DTS),
        (b"wvpk\0\0", Container.WAVPACK),
        (b"MAC \x96\x0f", Container.APE),
        (b"TTA1\1\0", Container.TTA),
        (tag(20) + bytes(20) + b"TTA1\1\0", Container.TTA),
        (tag(20) + bytes(20) + b"MAC \x96\x0f", Container.APE),
        (b"NIST_1A\n   1024\n", Container.SPHERE),
        (bytes(8_000) + MP3_FRAME * 4, Container.MP3),
        (bytes(65_000) + MP3_FRAME * 4, Container.MP3),
        (b"\xff" * 20_000 + MP3_FRAME * 4, Container.MP3),
    ],
)
def test_containers_are_told_by_their_first_bytes(head: bytes, container: Container) -> None:
    assert sniff_container(head) is container


@pytest.mark.parametrize(
    ("head", "word"),
    [
        (b"#EXTM3U\n", "playlist"),
        (b"\xef\xbb\xbf  #EXTM3U\n", "playlist"),
        (b"FFCONCAT version 1.0\n", "playlist"),
        (b"# a comment\nfile '/etc/passwd'\n", "text"),
        (b"[playlist]\n", "playlist"),
        (b'FILE "a.wav" WAVE\n  TRACK 01 AUDIO\n', "playlist"),
        (b'<?xml version="1.0"?>\n<MPD>', "playlist"),
        (b"<asx version='3'>", "playlist"),
        (b'<?xml version="1.0"?>\n<svg>', "image"),
        (b"<?xml version='1.0'?><rss/>", "XML"),
        (b"\x89PNG\r\n\x1a\n", "image"),
        (b"\xff\xd8\xff\xe0", "image"),
        (b"GIF89a", "image"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image"),
        (b"\0\0\0\x1cftypavif", "image"),
        (b"<HTML>", "web page"),
        (b'{"a": 1}', "JSON"),
        (b"[\x01\x02\xff", "not in a format"),
        (b"hello", "text"),
        ("grüß dich".encode(), "text"),
        (b"PK\x03\x04", "archive"),
        (b"%PDF-1.4", "PDF"),
        (b"\x7fELF", "program"),
        (b"\x1a\x45\xdf\xa3\x9f\x42\x82\x84evil", "not in a format"),
        (b"\0\x01\x02\x03", "not in a format"),
        (b"\xff\xfb\x90\x00" + b"\x55" * 5_000, "not in a format"),
        (tag(20) + bytes(20) + b"#EXTM3U\n", "playlist"),
        (b"PK\x03\x04" + bytes(60) + MP3_FRAME * 4, "archive"),
        (bytes(70_000) + MP3_FRAME * 4, "not in a format"),
        (b"\x0b\x77" + bytes(5_000), "not in a format"),
    ],
)
def test_a_refusal_says_what_it_is_and_what_is_accepted(head: bytes, word: str) -> None:
    with pytest.raises(UnsupportedMediaError, match=word) as caught:
        sniff_container(head)
    assert "flac, mp3, mp4, mpeg, mpga, m4a, ogg" in caught.value.message


def test_nothing_is_a_broken_file_rather_than_another_kind() -> None:
    with pytest.raises(UndecodableAudioError, match="empty"):
        sniff_container(b"")


@pytest.mark.parametrize(
    ("head", "length"),
    [
        (tag(257), 267),
        (tag(257, flags=0x10), 277),
        (b"ID3\x04\0\0\x80\0\0\0", 0),
        (b"ID3\xff\0\0\0\0\0\0", 0),
        (b"ID3\x04\0\0", 0),
    ],
)
def test_the_length_of_a_tag_is_synchsafe(head: bytes, length: int) -> None:
    assert id3_tag_bytes(head) == length


STARTS = (
    *(
        b"RIFF RIFX RF64 BW64 FORM WAVE AVI AIFF AIFC WEBP fLaC OggS caff .snd wvpk TTA1 ftyp moov mdat free heic".split()
    ),
    *(
        b"ID3\x04\0\0\0\0\0\0",
        b"ID3\x04\0\x10\0\0\0\x0a",
        b"#!AMR\n",
        b"MAC ",
        b"FLV\x01",
        b"NIST_1A\n",
        b"\x47",
    ),
    *(
        b"\x1a\x45\xdf\xa3",
        b"webm",
        b"\0\0\x01\xba",
        b"\x7f\xfe\x80\x01",
        b"riff\x2e\x91\xcf\x11",
        b"\0" * 188,
    ),
    *(MP3_FRAME, MP3_V2_FRAME, LAYER_ONE_FRAME, AC3_FRAME, EAC3_FRAME, ADTS_FRAME, b"\xff\xe0", b"\x0b\x77"),
    *(b"#EXTM3U", b"<?xml", b"<mpd", b"\nfile ", b"track ", b"{", b"\xff\xfe", "ü".encode()),
)
"""What files of each kind begin with, and what is refused for what it is."""


@given(
    st.lists(
        st.tuples(st.sampled_from(STARTS) | st.binary(max_size=12), st.sampled_from([1, 1, 2, 3, 2_000]))
    ),
    st.booleans(),
)
def test_any_beginnings_in_any_order_are_a_container_or_refused(
    parts: list[tuple[bytes, int]], after_tags: bool
) -> None:
    head = b"".join(part * times for part, times in parts)[:HEAD_BYTES]
    with suppress(UnsupportedMediaError, UndecodableAudioError):
        assert sniff_container(head, after_tags=after_tags) in Container


@given(st.binary(max_size=300), st.booleans())
@example(b"\xff" * 300, False)  # noqa: FBT003 - hypothesis passes arguments by position
@example(b"ID3\x04\0\0\0\0\0\0" * 30, False)  # noqa: FBT003 - as above
def test_any_bytes_are_a_container_or_refused(head: bytes, after_tags: bool) -> None:
    with suppress(UnsupportedMediaError, UndecodableAudioError):
        assert sniff_container(head, after_tags=after_tags) in Container
