"""Uploads that must end in a 4xx: broken, mistaken or meant to make the server read what it should not.

Data for the tests of the decoder and of the HTTP routes alike. `build` gets a folder to work in, where a file that must
never be read (`plant`) already lies, and returns the bytes of the upload.
"""

from __future__ import annotations

import io
import random
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.bombs import TAG, flac_of_silence, m4a_of_tracks, matroska_tracks, nested_tags
from tests.recordings import render, run_ffmpeg, speech_like, tone, wav_bytes

PLANTED_NAME = "planted.wav"
PLANTED_HZ = 1_000.0
BOMB_SECONDS = 900  # the bombs last this long; a limit below it must answer 413


@dataclass(frozen=True)
class HostileUpload:
    """One upload: the name it is sent under, how its bytes are made and the statuses that are right for it."""

    name: str
    filename: str
    build: Callable[[Path], bytes]
    statuses: frozenset[int]


def plant(folder: Path) -> Path:
    """Puts a loud tone into the folder; no upload may bring it to light."""
    path = folder / PLANTED_NAME
    path.write_bytes(wav_bytes(tone(2.0, PLANTED_HZ)))
    return path


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def _riff_wav(fmt: bytes, data: bytes, data_size: int | None = None) -> bytes:
    size = len(data) if data_size is None else data_size
    chunks = b"fmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + struct.pack("<I", size) + data
    return b"RIFF" + struct.pack("<I", min(4 + len(chunks), 2**32 - 1)) + b"WAVE" + chunks


def _pcm_format(*, tag: int = 1, channels: int = 1, hz: int = 16_000) -> bytes:
    return struct.pack("<HHIIHH", tag, channels, hz, hz * 2, 2, 16)


def _noise(count: int) -> bytes:
    return random.Random(7).randbytes(count)  # noqa: S311 - test data, no secret


def _recording() -> bytes:
    return wav_bytes(speech_like(1.0))


def _zip(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.write(folder / PLANTED_NAME, PLANTED_NAME)
    return buffer.getvalue()


def _playlist(folder: Path) -> bytes:
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{folder / PLANTED_NAME}\n#EXT-X-ENDLIST\n".encode()


def _tagged_playlist(folder: Path) -> bytes:
    return b"ID3\x04\0\0\0\0\0\x0a" + bytes(10) + _playlist(folder)


def _concat(folder: Path) -> bytes:
    return f"ffconcat version 1.0\nfile '{folder / PLANTED_NAME}'\n".encode()


def _dash(folder: Path) -> bytes:
    base = f"<BaseURL>file://{folder / PLANTED_NAME}</BaseURL>"
    representation = f'<Representation id="0" bandwidth="1">{base}</Representation>'
    body = f'<Period><AdaptationSet mimeType="audio/wav">{representation}</AdaptationSet></Period>'
    return f'<?xml version="1.0"?>\n<MPD mediaPresentationDuration="PT2S" type="static">{body}</MPD>'.encode()


def _alias(target: Path) -> bytes:
    """A QuickTime `alis` data reference that names another file by its absolute path."""
    path = str(target).encode()
    head = bytes(10) + b"\x01/" + bytes(26) + bytes(12) + bytes([1]) + b"x" + bytes(62) + bytes(16)
    levels = struct.pack(">HH", 1, 1) + bytes(16)
    padded = path + bytes(len(path) % 2)
    return (
        bytes(4) + head + levels + struct.pack(">HH", 2, len(path)) + padded + struct.pack(">HH", 0xFFFF, 0)
    )


def _with_reference(boxes: bytes, reference: bytes) -> bytes:
    """The boxes of a QuickTime file with every data reference replaced."""
    rebuilt, at = b"", 0
    while at < len(boxes):
        size, kind = struct.unpack_from(">I4s", boxes, at)
        content = boxes[at + 8 : at + size]
        if kind == b"dref":
            content = bytes(4) + struct.pack(">I", 1) + _box(b"alis", reference)
        elif kind in {b"moov", b"trak", b"mdia", b"minf", b"dinf"}:
            content = _with_reference(content, reference)
        rebuilt, at = rebuilt + _box(kind, content), at + size
    return rebuilt


def referring_mov(folder: Path) -> bytes:
    """A QuickTime file whose sound lies in the planted file."""
    local = render(_recording(), folder / "local.mov", "-c:a", "pcm_s16le").read_bytes()
    return _with_reference(local, _alias(folder / PLANTED_NAME))


def _silent_video(_: Path) -> bytes:
    source = ("-f", "lavfi", "-i", "color=s=64x64:d=1:r=5", "-c:v", "mpeg4")
    return run_ffmpeg(*source, "-f", "mp4", "-movflags", "frag_keyframe+empty_moov", "pipe:1")


def _silence(folder: Path, suffix: str, *arguments: str) -> bytes:
    path = folder / f"bomb{suffix}"
    source = ("-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono", "-t", str(BOMB_SECONDS), "-c:a", "flac")
    run_ffmpeg(*source, "-compression_level", "0", *arguments, str(path))
    return path.read_bytes()


def _unsized_silence(folder: Path) -> bytes:
    """Matroska written as a live stream: it does not say how long it is."""
    return _silence(folder, ".mkv", "-f", "matroska", "-live", "1")


def _flac_stating_a_day(folder: Path) -> bytes:
    """A second of sound under a header that promises 24 hours."""
    flac = bytearray(render(_recording(), folder / "second.flac").read_bytes())
    total = struct.unpack_from(">Q", flac, 18)[0] & ~(2**36 - 1) | 86_400 * 16_000
    struct.pack_into(">Q", flac, 18, total)
    return bytes(flac)


def _flac_header(folder: Path) -> bytes:
    return render(_recording(), folder / "header.flac").read_bytes()[:42]


def _ogg_of_noise(folder: Path) -> bytes:
    ogg = render(_recording(), folder / "noise.ogg", "-c:a", "libopus").read_bytes()
    return ogg[:20] + _noise(len(ogg) - 20)


def _mp4_without_moov(folder: Path) -> bytes:
    mp4 = render(_recording(), folder / "whole.m4a").read_bytes()
    return mp4[: mp4.index(b"moov") + 40]


def _mp4_of_boxes(_folder: Path) -> bytes:
    """Boxes within boxes, deeper than any real file."""
    nested = b""
    for _ in range(2_000):
        nested = _box(b"moov", nested)
    return _box(b"ftyp", b"isom\0\0\0\0") + nested


def _mp3_of_noise(_: Path) -> bytes:
    return b"\xff\xfb\x90\x00" + _noise(60_000)


def _archived_mp3(folder: Path) -> bytes:
    """An archive that is not compressed: the frames of an MP3 file stand in it as they are."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.write(render(_recording(), folder / "a.mp3"), "a.mp3")
    return buffer.getvalue()


def _riff_of_big_endian_adpcm() -> bytes:
    form = struct.pack(">HHIIHH", 2, 1, 16_000, 8_000, 256, 4)
    chunks = (
        b"fmt " + struct.pack(">I", len(form)) + form + b"data" + struct.pack(">I", 9_000) + _noise(9_000)
    )
    return b"RIFX" + struct.pack(">I", 4 + len(chunks)) + b"WAVE" + chunks


def _constant(content: bytes) -> Callable[[Path], bytes]:
    def build(_: Path) -> bytes:
        return content

    return build


def _upload(
    name: str, filename: str, build: Callable[[Path], bytes] | bytes, *statuses: int
) -> HostileUpload:
    builder = _constant(build) if isinstance(build, bytes) else build
    return HostileUpload(name, filename, builder, frozenset(statuses))


_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x02\0\0\0\x90wS\xde"
_CUE = b'PERFORMER "x"\nFILE "/etc/hostname" WAVE\n  TRACK 01 AUDIO\n    INDEX 01 00:00:00\n'
_SDP = b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nc=IN IP4 127.0.0.1\r\nm=audio 5004 RTP/AVP 0\r\n"
_HEIC = _box(b"ftyp", b"heic\0\0\0\0mif1heic") + bytes(100)

HOSTILE_UPLOADS: tuple[HostileUpload, ...] = (
    _upload("empty", "a.wav", b"", 400),
    _upload("one byte", "a.wav", b"R", 400),
    _upload("zeros", "a.wav", bytes(5_000), 400),
    _upload("random bytes", "a.mp3", _noise(50_000), 400),
    _upload("text named wav", "a.wav", "Grüße, this is no sound.\n".encode() * 200, 400),
    _upload("UTF-16 text", "a.wav", "no sound".encode("utf-16"), 400),
    _upload("web page", "a.mp3", b"<!DOCTYPE html><html><body>404</body></html>", 400),
    _upload("JSON", "a.wav", b'{"error": "not found"}', 400),
    _upload("PNG named wav", "a.wav", _PNG, 400),
    _upload("JPEG named mp3", "a.mp3", b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01" + _noise(2_000), 400),
    _upload("GIF", "a.ogg", b"GIF89a\x01\0\x01\0\0\0\0;", 400),
    _upload("WebP", "a.wav", b"RIFF\x24\0\0\0WEBPVP8 " + bytes(24), 400),
    _upload("HEIC", "a.mp4", _HEIC, 400),
    _upload("SVG", "a.wav", b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', 400),
    _upload("HLS playlist", "a.m3u8", _playlist, 400),
    _upload("HLS playlist named wav", "a.wav", _playlist, 400),
    _upload("HLS playlist behind an ID3 tag", "a.mp3", _tagged_playlist, 400, 400),
    _upload("HLS playlist of the network", "a.mp3", b"\xef\xbb\xbf#EXTM3U\nhttp://127.0.0.1:9/a.ts\n", 400),
    _upload("ffconcat list", "a.wav", _concat, 400),
    _upload("pls playlist", "a.wav", b"[playlist]\nFile1=/etc/hostname\n", 400),
    _upload("cue sheet", "a.wav", _CUE, 400),
    _upload("SDP", "a.wav", _SDP, 400),
    _upload("DASH manifest", "a.mp4", _dash, 400),
    _upload("QuickTime that refers to another file", "a.mov", referring_mov, 400),
    _upload("zip", "a.wav", _zip, 400),
    _upload("PDF", "a.wav", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", 400),
    _upload("ELF", "a.wav", b"\x7fELF\x02\x01\x01" + bytes(200), 400),
    _upload("WAV cut within its header", "a.wav", b"RIFF\x24\0\0\0WAVEfmt ", 400),
    _upload("WAV without samples", "a.wav", _riff_wav(_pcm_format(), b""), 400),
    _upload("WAV that claims 4 GB", "a.wav", _riff_wav(_pcm_format(), b"", 2**32 - 1), 400),
    _upload("WAV of an unknown codec", "a.wav", _riff_wav(_pcm_format(tag=0xBEEF), _noise(9_000)), 400),
    _upload("WAV at 0 Hz", "a.wav", _riff_wav(_pcm_format(hz=0), _noise(9_000)), 400),
    _upload("WAV of 65535 channels", "a.wav", _riff_wav(_pcm_format(channels=65_535), _noise(9_000)), 400),
    _upload("WAV of 65 channels", "a.wav", _riff_wav(_pcm_format(channels=65), _noise(65_000)), 400),
    _upload("RIFX in a codec of its own", "a.wav", _riff_of_big_endian_adpcm(), 400),
    _upload("RIFX without a format", "a.wav", b"RIFX\0\0\0\x24WAVEdata\0\0\0\x08" + bytes(8), 400),
    _upload("FLV header alone", "a.flv", b"FLV\x01\x05\0\0\0\x09\0\0\0\0", 400),
    _upload("FLV of noise", "a.flv", b"FLV\x01\x05\0\0\0\x09\0\0\0\0" + _noise(9_000), 400, 400),
    _upload("AC-3 of noise", "a.ac3", b"\x0b\x77\x1c\x12\x00\x40" + _noise(9_000), 400, 400),
    _upload("DTS of noise", "a.dts", b"\x7f\xfe\x80\x01" + _noise(9_000), 400),
    _upload("WavPack of noise", "a.wv", b"wvpk" + _noise(9_000), 400),
    _upload("Monkey's Audio of noise", "a.ape", b"MAC \x96\x0f\0\0" + _noise(9_000), 400),
    _upload("Monkey's Audio of endless frames", "a.ape", b"MAC \x96\x0f\0\0" + b"\xff" * 9_000, 400),
    _upload("True Audio of noise", "a.tta", b"TTA1" + _noise(9_000), 400),
    _upload("SPHERE header alone", "a.sph", b"NIST_1A\n   1024\nend_head\n".ljust(1_024), 400),
    _upload(
        "SPHERE in an unknown coding",
        "a.sph",
        b"NIST_1A\n   1024\nsample_coding -s8 shorten0\nend_head\n",
        400,
    ),
    _upload("MP3 in an archive", "a.mp3", _archived_mp3, 400),
    _upload("MP3 of noise after one sync word", "a.mp3", _mp3_of_noise, 400, 400),
    _upload("ID3 tag and nothing else", "a.mp3", b"ID3\x04\0\0\x7f\x7f\x7f\x7f", 400),
    _upload("video without sound", "a.mp4", _silent_video, 400),
    _upload("MP4 without its index", "a.mp4", _mp4_without_moov, 400),
    _upload("MP4 of nested boxes", "a.mp4", _mp4_of_boxes, 400, 400),
    _upload("Ogg with broken pages", "a.ogg", _ogg_of_noise, 400),
    _upload("FLAC header alone", "a.flac", _flac_header, 400),
    _upload("Matroska header alone", "a.webm", b"\x1a\x45\xdf\xa3\x87\x42\x82\x84webm", 400, 400),
    _upload("a quarter of an hour of silence", "a.flac", lambda folder: _silence(folder, ".flac"), 413),
    _upload("silence of unknown length", "a.mkv", _unsized_silence, 413),
    _upload("FLAC that states a day", "a.flac", _flac_stating_a_day, 413),
    _upload("12 hours that state a second", "a.flac", lambda _: flac_of_silence(1), 413),
    _upload("12 hours that state nothing", "a.flac", lambda _: flac_of_silence(0), 413),
    _upload("M4A of 900 tracks", "a.m4a", lambda _: m4a_of_tracks(900), 400),
    _upload("Matroska of 5,000 tracks", "a.mkv", lambda _: matroska_tracks(5_000), 400),
    _upload("Matroska of tags in tags", "a.mkv", lambda _: nested_tags(20_000), 400),
    _upload("AMR that is one byte", "a.amr", lambda _: b"#!AMR\n" + b"\x7c" * 200_000, 400),
    _upload("ID3 tags by the thousand, and no sound", "a.mp3", TAG * 4_500, 400),
)
