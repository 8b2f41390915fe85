"""What a file is, told by its first bytes.

Owns the allow-list of containers and the sentences for what is refused. Pure: no input or output, no ffmpeg.

The name and the content type of an upload are never asked, and ffmpeg is never left to guess: it would take a playlist
for audio and open what the playlist names. Sources: the formats' own specifications (RIFF, ID3v2.4, ISO 11172-3 and
13818-7 frame headers, RFC 3533, 8794 and 9639, ISO 14496-12).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from lithophone.errors import UndecodableAudioError, UnsupportedMediaError

HEAD_BYTES = 81_920  # what may be junk, and behind it three of the largest frames
RESYNC_BYTES = (
    65_536  # how far ffmpeg looks for the first frame of MP3: streams are cut, and padded with zeros
)
CHAINED_FRAMES = 3  # a sync word is common in noise; three frames in a row are not
ID3_HEADER_BYTES = 10
TS_PACKET_BYTES = 188
TEXT_SAMPLE_BYTES = 1_024

ACCEPTED = (
    "flac, mp3, mp4, mpeg, mpga, m4a, ogg, opus, wav, webm, mov, aac, ac3, aiff, amr, ape, au, avi, caf, dts, flv, spx, "
    "sph, ts, tta, wma, wv"
)


class Container(Enum):
    """A container this server reads; the value is the ffmpeg demuxer that is forced for it."""

    WAV = "wav"
    W64 = "w64"
    MP3 = "mp3"
    FLAC = "flac"
    OGG = "ogg"
    MP4 = "mov"
    MATROSKA = "matroska"
    ADTS = "aac"
    AMR = "amr"
    AIFF = "aiff"
    CAF = "caf"
    AU = "au"
    MPEG_TS = "mpegts"
    MPEG_PS = "mpeg"
    AVI = "avi"
    ASF = "asf"
    FLV = "flv"
    AC3 = "ac3"
    EAC3 = "eac3"
    DTS = "dts"
    WAVPACK = "wv"
    APE = "ape"
    TTA = "tta"
    SPHERE = "nistsphere"

    @property
    def has_clock(self) -> bool:
        """Whether every packet has a time of its own. Elsewhere sound has no place but behind the sound before."""
        return self in _CLOCKED

    @property
    def may_restart(self) -> bool:
        """Whether it may be several recordings in a row, each with a clock of its own: broadcasts, and chains of Ogg."""
        return self in _RESTARTING


_RESTARTING = frozenset((Container.OGG, Container.MPEG_TS, Container.MPEG_PS))
_CLOCKED = _RESTARTING | {Container.MP4, Container.MATROSKA, Container.ASF, Container.FLV}


def sniff_container(head: bytes, *, after_tags: bool = False) -> Container:
    """The container a file starts with.

    Args:
        head: the first `HEAD_BYTES` bytes of the file, or all of a shorter one.
        after_tags: `head` was read behind the ID3v2 tags of the file, where only MPEG audio and FLAC may follow.
            A tag that lies within `head` is skipped here.

    Raises:
        UndecodableAudioError: the file is empty.
        UnsupportedMediaError: it is something else; the message says what, where that is known, and what is accepted.
    """
    if not head and not after_tags:
        raise UndecodableAudioError("The file is empty.", param="file")
    start = 0
    while tag_bytes := id3_tag_bytes(head[start : start + ID3_HEADER_BYTES]):
        start, after_tags = start + tag_bytes, True
    head = head[start:]
    container = _tagged_container(head) if after_tags else _magic_container(head) or _frame_container(head)
    if container is None:
        raise UnsupportedMediaError(_refusal(head), param="file")
    return container


def id3_tag_bytes(head: bytes) -> int:
    """Length of the ID3v2 tag that `head` starts with, its header and footer included; 0 without one."""
    if len(head) < ID3_HEADER_BYTES or head[:3] != b"ID3" or 0xFF in head[3:5]:
        return 0
    if any(byte & 0x80 for byte in head[6:10]):
        return 0
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    footer = ID3_HEADER_BYTES if head[5] & 0x10 else 0
    return ID3_HEADER_BYTES + size + footer


def _tagged_container(head: bytes) -> Container | None:
    """What follows an ID3v2 tag: writers pad with zeros, so those are skipped; nothing but padding may still be MP3."""
    content = head.lstrip(b"\0")
    if not content:
        return Container.MP3
    return _found(_TAGGABLE, content) or _frame_container(content)


# What may follow an ID3v2 tag.
_TAGGABLE: tuple[tuple[int, bytes, Container], ...] = (
    (0, b"fLaC", Container.FLAC),
    (0, b"wvpk", Container.WAVPACK),
    (0, b"MAC ", Container.APE),
    (0, b"TTA1", Container.TTA),
)
_MAGIC: tuple[tuple[int, bytes, Container], ...] = (
    (0, b"OggS", Container.OGG),
    (0, b"#!AMR\n", Container.AMR),
    (0, b"#!AMR-WB\n", Container.AMR),
    (0, b"caff", Container.CAF),
    (0, b".snd", Container.AU),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", Container.ASF),
    (0, b"riff\x2e\x91\xcf\x11", Container.W64),
    (0, b"\x00\x00\x01\xba", Container.MPEG_PS),
    (0, b"FLV\x01", Container.FLV),
    (0, b"NIST_1A\n", Container.SPHERE),
    *(
        (0, sync, Container.DTS)
        for sync in (b"\x7f\xfe\x80\x01", b"\xfe\x7f\x01\x80", b"\x1f\xff\xe8\x00", b"\xff\x1f\x00\xe8")
    ),
    *_TAGGABLE,
    *((4, atom, Container.MP4) for atom in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")),
)
_CHUNKED: dict[tuple[bytes, bytes], Container] = {
    (b"RIFF", b"WAVE"): Container.WAV,
    (b"RIFX", b"WAVE"): Container.WAV,
    (b"RF64", b"WAVE"): Container.WAV,
    (b"BW64", b"WAVE"): Container.WAV,
    (b"RIFF", b"AVI "): Container.AVI,
    (b"FORM", b"AIFF"): Container.AIFF,
    (b"FORM", b"AIFC"): Container.AIFF,
}
_IMAGE_BRANDS = (b"avif", b"avis", b"heic", b"heix", b"heif", b"mif1", b"msf1")


def _magic_container(head: bytes) -> Container | None:
    chunked = _CHUNKED.get((head[:4], head[8:12]))
    if chunked is not None:
        return chunked
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return Container.MATROSKA if b"matroska" in head[:256] or b"webm" in head[:256] else None
    if _is_transport_stream(head):
        return Container.MPEG_TS
    if _is_still_image(head):
        return None
    return _found(_MAGIC, head)


def _found(known: tuple[tuple[int, bytes, Container], ...], head: bytes) -> Container | None:
    return next((found for at, magic, found in known if head.startswith(magic, at)), None)


def _is_still_image(head: bytes) -> bool:
    """HEIF and AVIF share MP4's box format; the brand tells."""
    return head[4:8] == b"ftyp" and head[8:12] in _IMAGE_BRANDS


def _is_transport_stream(head: bytes) -> bool:
    """Sync bytes 188 apart, or 192 apart behind the four-byte timestamps of Blu-ray and AVCHD files."""
    return any(
        len(head) > start + 2 * stride and all(head[start + n * stride] == 0x47 for n in range(3))
        for start, stride in ((0, TS_PACKET_BYTES), (4, TS_PACKET_BYTES + 4))
    )


def _frame_container(head: bytes) -> Container | None:
    """Bare frames of AAC, AC-3 or MPEG audio, of which layers I to III all go to ffmpeg's mp3 demuxer.

    MPEG audio may have junk in front. Of a file that is known to be another thing, no such frames are looked for: an
    archive may well hold them.
    """
    for container, frame_bytes in _FRAMES.items():
        if _starts_chain(head, 0, frame_bytes, may_end=True):
            return container
    return None if _refused_kind(head) else _behind_junk(head)


def _behind_junk(head: bytes) -> Container | None:
    start = head.find(b"\xff", 1, RESYNC_BYTES)
    while start > 0:
        if _starts_chain(head, start, _mpeg_frame_bytes, may_end=False):
            return Container.MP3
        start = head.find(b"\xff", start + 1, RESYNC_BYTES)
    return None


def _starts_chain(head: bytes, start: int, frame_bytes: Callable[[bytes], int], *, may_end: bool) -> bool:
    """Whether valid frames follow each other from `start`; `may_end` accepts that `head` ends before the third."""
    for _ in range(CHAINED_FRAMES):
        length = frame_bytes(head[start : start + 7])
        if not length:
            return False
        start += length
        if start + 7 > len(head):
            return may_end
    return True


_V1_KBPS = {
    3: (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    2: (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    1: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
}
_V2_KBPS = {
    3: (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    2: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    1: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


def _mpeg_frame_bytes(header: bytes) -> int:
    """Length of the MPEG audio frame a header announces (ISO 11172-3, 2.4.1.3); 0 if it is no valid header."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return 0
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3  # 3 is MPEG-1; layer 3 is layer I, 1 is layer III
    rate_index, hz_index, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or layer == 0 or rate_index in {0, 15} or hz_index == 3:
        return 0
    bits_per_second = 1_000 * (_V1_KBPS if version == 3 else _V2_KBPS)[layer][rate_index - 1]
    hz = _HZ[version][hz_index]
    if layer == 3:
        return (12 * bits_per_second // hz + padding) * 4
    slots = 72 if layer == 1 and version != 3 else 144
    return slots * bits_per_second // hz + padding


def _adts_frame_bytes(header: bytes) -> int:
    """Length of the ADTS frame a header announces (ISO 13818-7, 6.2); 0 if it is no valid header."""
    if len(header) < 7 or header[0] != 0xFF or header[1] & 0xF6 != 0xF0 or header[2] >> 2 & 15 > 12:
        return 0
    length = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    return length if length > 7 else 0


_AC3_KBPS = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)
_AC3_HZ = (48_000, 44_100, 32_000)


def _ac3_frame_bytes(header: bytes) -> int:
    """Length of the AC-3 frame a header announces (ETSI TS 102 366, 4.4.1); 0 if it is no valid header."""
    if len(header) < 6 or header[:2] != b"\x0b\x77" or header[5] >> 3 > 10:
        return 0
    rate, code = header[4] >> 6, header[4] & 0x3F
    if rate == 3 or code >= 2 * len(_AC3_KBPS):
        return 0
    words = _AC3_KBPS[code >> 1] * 96_000 // _AC3_HZ[rate]  # of 16 bits, in 1,536 samples
    return 2 * (words + (code & 1 if rate == 1 else 0))


def _eac3_frame_bytes(header: bytes) -> int:
    """Length of the Enhanced AC-3 frame a header announces (ETSI TS 102 366, E.1.3.1); 0 if it is no valid header."""
    if len(header) < 6 or header[:2] != b"\x0b\x77" or not 10 < header[5] >> 3 <= 16:
        return 0
    return 2 * (1 + ((header[2] & 7) << 8 | header[3]))


_FRAMES: dict[Container, Callable[[bytes], int]] = {
    Container.ADTS: _adts_frame_bytes,
    Container.MP3: _mpeg_frame_bytes,
    Container.AC3: _ac3_frame_bytes,
    Container.EAC3: _eac3_frame_bytes,
}
_BINARY_REFUSALS: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"GIF8", "an image"),
    (b"BM", "an image"),
    (b"II*\0", "an image"),
    (b"MM\0*", "an image"),
    (b"PK\x03\x04", "an archive"),
    (b"PK\x05\x06", "an archive"),
    (b"\x1f\x8b", "an archive"),
    (b"7z\xbc\xaf", "an archive"),
    (b"Rar!", "an archive"),
    (b"\xfd7zXZ", "an archive"),
    (b"%PDF", "a PDF document"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
)
_TEXT_REFUSALS: tuple[tuple[bytes, str], ...] = (
    (b"#extm3u", "a playlist"),
    (b"#ext-x-", "a playlist"),
    (b"ffconcat", "a playlist"),
    (b"[playlist]", "a playlist"),
    (b"file '", "a playlist"),
    (b"<asx", "a playlist"),
    (b"<smil", "a playlist"),
    (b"<mpd", "a playlist"),
    (b"<svg", "an image"),
    (b"<!doctype html", "a web page"),
    (b"<html", "a web page"),
)


def _refusal(head: bytes) -> str:
    what = _refused_kind(head)
    if what is None:
        return f"The file is not in a format this server reads. Accepted: {ACCEPTED}."
    if what == "a playlist":
        return f"The file is a playlist, and links are not followed. Send the audio itself: {ACCEPTED}."
    return f"The file is {what}, not audio. Accepted: {ACCEPTED}."


def _refused_kind(head: bytes) -> str | None:
    """What a refused file is, with its article."""
    if _is_still_image(head) or (head[:4], head[8:12]) == (b"RIFF", b"WEBP"):
        return "an image"
    binary = next((what for magic, what in _BINARY_REFUSALS if head.startswith(magic)), None)
    return binary or _refused_text_kind(head[:TEXT_SAMPLE_BYTES])


def _refused_text_kind(sample: bytes) -> str | None:
    text = sample.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    found = next((what for prefix, what in _TEXT_REFUSALS if text.startswith(prefix)), None)
    if found:
        return found
    if text.startswith((b"<?xml", b"<!--")):
        tagged = (item for item in _TEXT_REFUSALS if item[0].startswith(b"<"))
        return next((what for tag, what in tagged if tag in text), "an XML document")
    if b"\nfile " in b"\n" + text and b"track " in text:
        return "a playlist"  # a cue sheet
    if not _is_text(sample):
        return None
    return "JSON" if text.startswith((b"{", b"[")) else "text"


def _is_text(sample: bytes) -> bool:
    """UTF-8 without control characters; a character cut at the end of the sample does not count."""
    if sample.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    printable = all(byte >= 0x20 or byte in b"\t\n\r\f" for byte in sample)
    return printable and "\N{REPLACEMENT CHARACTER}" not in sample[:-3].decode(errors="replace")[:-1]
