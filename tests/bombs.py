"""Files that claim, hold or cost too much, built without an encoder's work."""

from __future__ import annotations

import random
import struct
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final

from tests.recordings import render, speech_like, wav_bytes

HOURS_12: Final = 43_200
FLAC_HZ: Final = 8_000
FLAC_BLOCK: Final = 65_535
"""Samples of a block, the most there may be."""

TAG: Final = b"ID3\x04\0\0\0\0\0\x0a" + bytes(10)

Build = Callable[[], bytes]


def _crc(data: bytes, polynomial: int, bits: int) -> int:
    value, top = 0, 1 << bits - 1
    for byte in data:
        value ^= byte << bits - 8
        for _ in range(8):
            value = (value << 1 ^ (polynomial if value & top else 0)) & (1 << bits) - 1
    return value


def _flac_frame(number: int) -> bytes:
    """A block of silence in RFC 9639's terms: 8 kHz, mono, 16 bits, one constant subframe, numbered in UTF-8's way."""
    head = b"\xff\xf8" + bytes([0x74, 0x08]) + chr(number).encode() + struct.pack(">H", FLAC_BLOCK - 1)
    head += bytes([_crc(head, 0x07, 8)])
    frame = head + b"\x00\x00\x00"
    return frame + struct.pack(">H", _crc(frame, 0x8005, 16))


@cache
def flac_of_silence(stated_seconds: int, seconds: int = HOURS_12) -> bytes:
    """FLAC at a few bytes a second that says it lasts so long; 0: it does not say."""
    total = stated_seconds * FLAC_HZ
    info = struct.pack(">HH", FLAC_BLOCK, FLAC_BLOCK) + bytes(6)
    info += (FLAC_HZ << 44 | 15 << 36 | total).to_bytes(8, "big") + bytes(16)
    frames = b"".join(_flac_frame(number) for number in range(1 + seconds * FLAC_HZ // FLAC_BLOCK))
    return b"fLaC\x80\x00\x00\x22" + info + frames


@cache
def _second(suffix: str, *arguments: str) -> bytes:
    """A second of sound as ffmpeg writes it."""
    with tempfile.TemporaryDirectory() as folder:
        return render(wav_bytes(speech_like(1.0)), Path(folder) / f"second{suffix}", *arguments).read_bytes()


def _noise(byte_count: int) -> bytes:
    return random.Random(7).randbytes(byte_count)  # noqa: S311 - test data, no secret


def box(kind: bytes, content: bytes) -> bytes:
    """A box of an MP4 file."""
    return struct.pack(">I4s", 8 + len(content), kind) + content


def nested_boxes(depth: int, kind: bytes = b"moov") -> bytes:
    """Boxes within boxes."""
    heads = b"".join(struct.pack(">I4s", 8 * (depth - level), kind) for level in range(depth))
    return box(b"ftyp", b"isom\0\0\0\0isom") + heads


def element(identity: bytes, content: bytes) -> bytes:
    """An element of a Matroska file."""
    return identity + (len(content) | 1 << 56).to_bytes(8, "big") + content


def matroska(*within_segment: bytes) -> bytes:
    """A Matroska file of these elements."""
    head = element(b"\x1a\x45\xdf\xa3", element(b"\x42\x82", b"matroska"))
    return head + element(b"\x18\x53\x80\x67", b"".join(within_segment))


def matroska_tracks(count: int) -> bytes:
    """So many tracks of PCM."""
    audio = element(b"\xe1", element(b"\xb5", struct.pack(">d", 16_000.0)) + element(b"\x9f", b"\1"))
    tracks = b"".join(
        element(
            b"\xae",
            element(b"\xd7", number.to_bytes(4, "big"))
            + element(b"\x83", b"\2")
            + element(b"\x86", b"A_PCM/INT/LIT")
            + audio,
        )
        for number in range(1, count + 1)
    )
    return matroska(element(b"\x16\x54\xae\x6b", tracks))


def nested_tags(depth: int) -> bytes:
    """Simple tags within simple tags."""
    heads, size = [], 0
    for _ in range(depth):
        heads.append(b"\x67\xc8" + (size | 1 << 56).to_bytes(8, "big"))
        size += 10
    return matroska(element(b"\x12\x54\xc3\x67", element(b"\x73\x73", b"".join(reversed(heads)))))


def m4a_of_tracks(count: int) -> bytes:
    """One track, so many times."""
    original = _second(".m4a")
    moov, trak = original.find(b"moov") - 4, original.find(b"trak") - 4
    moov_end = moov + int.from_bytes(original[moov : moov + 4])
    one = original[trak : trak + int.from_bytes(original[trak : trak + 4])]
    whole = box(b"moov", original[moov + 8 : moov_end] + one * count)
    return original[:moov] + whole + original[moov_end:]


def m4a_of_boxes(count: int) -> bytes:
    """A second of sound, and empty boxes."""
    return _second(".m4a") + box(b"free", b"") * count


def ogg_of_streams(count: int) -> bytes:
    """The first page of a stream, so many times."""
    opus = _second(".ogg", "-c:a", "libopus")
    end = opus.find(b"OggS", 4)
    pages = []
    for serial in range(count):
        page = bytearray(opus[:end])
        struct.pack_into("<II", page, 14, serial, 0)
        struct.pack_into("<I", page, 22, 0)
        struct.pack_into("<I", page, 22, _crc(bytes(page), 0x04C11DB7, 32))
        pages.append(bytes(page))
    return b"".join(pages) + opus


BOMBS: Final[dict[str, Build]] = {
    "12 h of FLAC that says so": lambda: flac_of_silence(HOURS_12),
    "12 h of FLAC that says 1 s": lambda: flac_of_silence(1),
    "12 h of FLAC that does not say": lambda: flac_of_silence(0),
    "12 h of AAC frames": lambda: _second(".aac", "-b:a", "8k") * HOURS_12,
    "12 h of MP3 frames": lambda: _second(".mp3", "-b:a", "8k", "-write_xing", "0") * HOURS_12,
    "MP3, then noise": lambda: _second(".mp3") + _noise(100 << 20),
    "MP3, then headers alone": lambda: _second(".mp3") + b"\xff\xfb\x90\x00" * (15 << 20),
    "FLAC, then headers alone": lambda: _second(".flac")[:200] + b"\xff\xf8\xc9\x18" * (25 << 20),
    "TS of empty packets": lambda: (b"\x47\x1f\xff\x10" + b"\xff" * 184) * (1 << 20),
    "AMR of one byte": lambda: b"#!AMR\n" + b"\x7c" * (50 << 20),
    "Ogg of 300 streams": lambda: ogg_of_streams(300),
    "ID3 tags, 5,000": lambda: TAG * 5_000 + _second(".mp3"),
    "M4A of 5,000 tracks": lambda: m4a_of_tracks(5_000),
    "M4A of a million boxes": lambda: m4a_of_boxes(1_000_000),
    "MP4 of boxes a million deep": lambda: nested_boxes(1_000_000),
    "MP4 of tracks 100,000 deep": lambda: nested_boxes(100_000, b"trak"),
    "Matroska of 100,000 tracks": lambda: matroska_tracks(100_000),
    "Matroska of tags 100,000 deep": lambda: nested_tags(100_000),
}
