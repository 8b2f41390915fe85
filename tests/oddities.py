"""Files that programs really write and that are easily misread: late, with holes, of many tracks or channels, cut.

Data for the tests of the decoder, of the HTTP route, and of the figures. `build` gets a folder to work in and returns the
bytes of the file.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from lithophone.audio.waveform import SAMPLE_RATE, Waveform, pcm16_from_waveform, samples_from_seconds
from tests.recordings import run_ffmpeg, silence, syllables, wav_bytes
from tests.shorten import shortened_samples
from tests.wma_lossless import FRAME_SAMPLES, lossless_form, lossless_packets

FIRST = syllables(3.0)
SECOND = syllables(2.0, seed=8)
DATA = Path(__file__).parent / "audio" / "data"
SPEEX = DATA / "wideband.spx"  # made of FIRST by speexenc 1.2.1, quality 4
MONKEYS = DATA / "extra-high.ape"  # made of FIRST by Monkey's Audio 3.99, level 4000
VIDEO = ("-f", "lavfi", "-i", "testsrc=s=64x64:r=25:d=8")

Builder = Callable[[Path], bytes]


@dataclass(frozen=True)
class Oddity:
    """One file.

    Attributes:
        name: what is odd about it.
        build: makes its bytes.
        sound: what it sounds like on its own clock.
        told: what the warnings have in them; nothing for a file that has lost nothing and left no choice.
        least_likeness: of what is decoded to `sound`, by its loudness over time.
        passes: how many processes it takes.
    """

    name: str
    build: Builder
    sound: Waveform
    told: str = ""
    passes: int = 1
    least_likeness: float = 0.9


def _source(folder: Path, waveform: Waveform) -> Path:
    path = folder / f"{abs(hash(waveform.tobytes()))}.wav"
    path.write_bytes(wav_bytes(waveform))
    return path


def written(suffix: str, *arguments: str, of: Waveform = FIRST) -> Builder:
    """A recording as ffmpeg writes it; the suffix chooses the container."""

    def build(folder: Path) -> bytes:
        path = folder / f"written{suffix}"
        run_ffmpeg("-i", str(_source(folder, of)), *arguments, "-strict", "-2", str(path))
        return path.read_bytes()

    return build


def late(suffix: str, *arguments: str, video: bool = True) -> Builder:
    """A recording that begins two seconds into the file, beside a video that begins at once."""

    def build(folder: Path) -> bytes:
        path = folder / f"late{suffix}"
        sound = ("-itsoffset", "2", "-i", str(_source(folder, FIRST)))
        streams = (*VIDEO, *sound, "-map", "0:v", "-map", "1:a") if video else sound
        run_ffmpeg(*streams, *arguments, "-strict", "-2", str(path))
        return path.read_bytes()

    return build


def interrupted(suffix: str, *arguments: str) -> Builder:
    """Two recordings with eleven seconds of nothing between them: no packets, only a clock that jumps."""
    jump = f"asetpts='PTS+if(gte(T,{len(FIRST) / SAMPLE_RATE}),11/TB,0)'"
    return written(suffix, "-af", jump, *arguments, of=joined(FIRST, SECOND))


def joined(*parts: Waveform) -> Waveform:
    """One after the other."""
    return np.concatenate(parts)


def tracks(suffix: str, *arguments: str, sounds: tuple[Waveform, ...]) -> Builder:
    """A file of several audio tracks."""

    def build(folder: Path) -> bytes:
        path = folder / f"tracks{suffix}"
        inputs = [part for sound in sounds for part in ("-i", str(_source(folder, sound)))]
        maps = [part for number in range(len(sounds)) for part in ("-map", f"{number}:a")]
        run_ffmpeg(*inputs, *maps, *arguments, "-strict", "-2", str(path))
        return path.read_bytes()

    return build


def following(*builders: Builder) -> Builder:
    """Files whose bytes were put one after the other."""
    return lambda folder: b"".join(build(folder) for build in builders)


def shortened(build: Builder, part: float = 0.6) -> Builder:
    """The first part of a file."""

    def cut(folder: Path) -> bytes:
        content = build(folder)
        return content[: int(len(content) * part)]

    return cut


def riff(form: bytes, data: bytes, *, order: str = "<") -> bytes:
    """A WAV file of two chunks; `>` is the byte order of RIFX."""
    chunks = struct.pack(f"{order}4sI", b"fmt ", len(form)) + form
    chunks += struct.pack(f"{order}4sI", b"data", len(data)) + data
    return (
        struct.pack(f"{order}4sI4s", b"RIFX" if order == ">" else b"RIFF", 4 + len(chunks), b"WAVE") + chunks
    )


def wav_form(
    *,
    tag: int = 1,
    channels: int = 1,
    rate: int = SAMPLE_RATE,
    sample_bytes: int = 2,
    bits: int = 16,
    order: str = "<",
) -> bytes:
    """The content of a `fmt ` chunk; `bits` may be fewer than the bytes hold."""
    frame = channels * sample_bytes
    return struct.pack(f"{order}HHIIHH", tag, channels, rate, rate * frame, frame, bits)


def extensible(
    *, valid_bits: int, sample_bytes: int, channels: int = 1, mask: int = 0, tag: int = 1
) -> bytes:
    """As `wav_form`, with the extension that tells how many bits count and where the speakers are."""
    form = wav_form(tag=0xFFFE, channels=channels, sample_bytes=sample_bytes, bits=8 * sample_bytes)
    guid = struct.pack("<I", tag) + bytes.fromhex("00001000800000aa00389b71")
    return form + struct.pack("<HHI", 22, valid_bits, mask) + guid


def _upper(waveform: Waveform, sample_bytes: int, order: str = "<") -> bytes:
    """Integers of so many bytes whose upper 16 bits are the sample."""
    values = np.frombuffer(pcm16_from_waveform(waveform), "<i2").astype(np.int64) << 8 * (sample_bytes - 2)
    octets = values.astype("<i8").view(np.uint8).reshape(-1, 8)[:, :sample_bytes]
    return (octets[:, ::-1] if order == ">" else octets).tobytes()


def _big_endian(*, channels: int = 1, sample_bytes: int = 2, rate: int = SAMPLE_RATE) -> Builder:
    form = wav_form(channels=channels, sample_bytes=sample_bytes, bits=8 * sample_bytes, rate=rate, order=">")
    sound = np.repeat(FIRST, channels)
    return lambda _: riff(form, _upper(sound, sample_bytes, ">"), order=">")


def _big_endian_floats(_: Path) -> bytes:
    form = wav_form(tag=3, sample_bytes=4, bits=32, order=">")
    return riff(form, FIRST.astype(">f4").tobytes(), order=">")


def microphones(channels: int, *, spoken: slice, rate: int = SAMPLE_RATE, mask: int | None = None) -> Builder:
    """A WAV file of many channels, the recording in some of them."""
    frames = np.zeros((len(FIRST), channels), "<i2")
    frames[:, spoken] = np.frombuffer(pcm16_from_waveform(FIRST), "<i2")[:, np.newaxis]
    form = (
        wav_form(channels=channels, rate=rate)
        if mask is None
        else extensible(valid_bits=16, sample_bytes=2, channels=channels, mask=mask)
    )
    return lambda _: riff(form, frames.tobytes())


def sphere(coding: str, data: bytes, **fields: str) -> Builder:
    """A NIST SPHERE file, as speech corpora have them."""
    told = {
        "sample_count": f"-i {len(FIRST)}",
        "sample_rate": f"-i {SAMPLE_RATE}",
        "channel_count": "-i 1",
        "sample_coding": f"-s{len(coding)} {coding}",
        **fields,
    }
    header = (
        "NIST_1A\n   1024\n" + "".join(f"{name} {value}\n" for name, value in told.items()) + "end_head\n"
    )
    return lambda _: header.encode().ljust(1_024) + data


def _lossless_wma(folder: Path) -> bytes:
    """Out of a WAV file, of which ffmpeg takes two packets at a time and knows no times."""
    source, copy = folder / "lossless.wav", folder / "lossless.wma"
    source.write_bytes(riff(lossless_form(), b"".join(lossless_packets(FIRST))))
    seconds = f"{2 * FRAME_SAMPLES}/{SAMPLE_RATE}/TB"
    run_ffmpeg(
        "-i", str(source), "-c", "copy", "-bsf:a", f"setts=ts=N*{seconds}:duration={seconds}", str(copy)
    )
    return copy.read_bytes()


@dataclass(frozen=True)
class Edit:
    """A line of an MP4 edit list: so many seconds of the track from `media_seconds`, or of nothing."""

    seconds: float
    media_seconds: float | None


def edited(*edits: Edit, suffix: str = ".m4a") -> Builder:
    """A file of lossless sound at 16 kHz, with an edit list of one's own."""

    def build(folder: Path) -> bytes:
        whole = written(suffix, "-c:a", "alac")(folder)
        return b"".join(_edit(whole, edits))

    return build


def _edit(boxes: bytes, edits: tuple[Edit, ...]) -> Iterator[bytes]:
    at = 0
    while at < len(boxes):
        size, kind = struct.unpack_from(">I4s", boxes, at)
        content = boxes[at + 8 : at + size]
        at += size
        if kind == b"edts":
            continue
        if kind in {b"moov", b"trak"}:
            content = b"".join(_edit(content, edits))
        if kind == b"mdia":
            yield _box(b"edts", _box(b"elst", _edit_list(edits)))
        yield _box(kind, content)


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def _edit_list(edits: tuple[Edit, ...]) -> bytes:
    lines = (
        struct.pack(
            ">IiI",
            samples_from_seconds(edit.seconds),
            -1 if edit.media_seconds is None else samples_from_seconds(edit.media_seconds),
            1 << 16,
        )
        for edit in edits
    )
    return struct.pack(">II", 0, len(edits)) + b"".join(lines)


@cache
def oddities() -> tuple[Oddity, ...]:
    """All of them."""
    return (*_times(), *_chosen_tracks(), *_formats(), *_wavs(), *_channels(), *_chains(), *_losses())


def _times() -> Iterator[Oddity]:
    opus, aac, mp3 = ("-c:a", "libopus"), ("-c:a", "aac"), ("-c:a", "mp3")
    begins_late = joined(silence(2.0), FIRST)
    yield Oddity("late in WebM", late(".webm", *opus), begins_late)
    yield Oddity("late in Matroska", late(".mkv", *aac), begins_late)
    yield Oddity("late in MP4", late(".mp4", *aac), begins_late)
    yield Oddity(
        "late in MP4 of fragments",
        late(".mp4", *aac, "-movflags", "+frag_keyframe+empty_moov"),
        begins_late,
        told="2.0 s between its sounds",  # ffmpeg writes a first packet at zero
    )
    yield Oddity("late in QuickTime", late(".mov", "-c:a", "pcm_s16le"), begins_late)
    yield Oddity("late in a transport stream", late(".ts", *aac), begins_late)
    yield Oddity("late in a program stream", late(".mpg", "-c:a", "mp2"), begins_late)
    yield Oddity("late in Flash video", late(".flv", *mp3, "-ar", "44100"), begins_late)
    yield Oddity("late in ASF", late(".asf", "-c:a", "wmav2"), begins_late)
    yield Oddity("late in Matroska without video", late(".mka", *opus, video=False), begins_late)
    yield Oddity("late in M4A", late(".m4a", *aac, video=False), begins_late)
    yield Oddity("a broadcast's clock", written(".ts", *aac, "-output_ts_offset", "50000"), FIRST)
    yield Oddity(
        "a fragment of a broadcast",
        written(".mp4", *aac, "-movflags", "+frag_keyframe+empty_moov", "-output_ts_offset", "5000"),
        FIRST,
    )
    yield Oddity("late in AVI, which has no times", late(".avi", *mp3), FIRST, told="ends 1.9 s before")
    gap = joined(FIRST, silence(11.0), SECOND)
    for suffix, arguments in (
        *((".webm", opus), (".mkv", ("-c:a", "flac")), (".mp4", aac), (".ts", aac), (".ogg", opus)),
        *((".flv", (*mp3, "-ar", "44100")), (".asf", ("-c:a", "wmav2"))),
    ):
        yield Oddity(
            f"a gap in {suffix}", interrupted(suffix, *arguments), gap, told="11.0 s between its sounds"
        )
    yield from _edit_lists()
    cd = ("-c:a", "aac", "-ar", "48000")
    yield Oddity(
        "a broadcast joined from two",
        following(written(".ts", *cd), written(".ts", *cd, "-output_ts_offset", "20000", of=SECOND)),
        joined(FIRST, SECOND),
    )
    yield Oddity(
        "a broadcast joined from two, the clock steps back",
        following(written(".ts", *cd, "-output_ts_offset", "20000"), written(".ts", *cd, of=SECOND)),
        joined(FIRST, SECOND),
    )
    yield Oddity(
        "Matroska joined from two",
        following(written(".mkv", "-c:a", "flac"), written(".mkv", "-c:a", "flac", of=SECOND)),
        joined(FIRST, SECOND),
    )


def _edit_lists() -> Iterator[Oddity]:
    start, rest = FIRST[: samples_from_seconds(1.5)], FIRST[samples_from_seconds(1.5) :]
    yield Oddity("an edit list that skips", edited(Edit(1.5, 1.5)), rest)
    yield Oddity("an edit list that waits", edited(Edit(2, None), Edit(3, 0)), joined(silence(2.0), FIRST))
    yield Oddity(
        "an edit list with a hole",
        edited(Edit(1.5, 0), Edit(4, None), Edit(1.5, 1.5)),
        joined(start, silence(4.0), rest),
        told="between its sounds",
    )
    yield Oddity("an edit list that turns round", edited(Edit(1.5, 1.5), Edit(1.5, 0)), joined(rest, start))


def _chosen_tracks() -> Iterator[Oddity]:
    quiet, noise = silence(3.0), SECOND
    aac = ("-c:a", "aac")
    default = ("-disposition:a:0", "0", "-disposition:a:1", "default")
    second = "audio_track: 2 of 2"
    for suffix in (".mkv", ".mp4", ".mov"):
        yield Oddity(
            f"the second track is the default in {suffix}",
            tracks(suffix, *aac, *default, sounds=(quiet, FIRST)),
            FIRST,
            told=second,
            passes=2,
        )
    yield Oddity(
        "the first of two", tracks(".mkv", *aac, sounds=(FIRST, noise)), FIRST, told="audio_track: 1 of 2"
    )
    yield Oddity("the first of two in TS", tracks(".ts", *aac, sounds=(FIRST, noise)), FIRST, told="1 of 2")
    comment = ("-disposition:a:0", "comment", "-disposition:a:1", "0")
    yield Oddity(
        "the first is a commentary",
        tracks(".mkv", *aac, *comment, sounds=(noise, FIRST)),
        FIRST,
        told=second,
        passes=2,
    )
    titled = (
        "-disposition:a",
        "0",
        "-metadata:s:a:0",
        "title=Kommentar der Regie",
        "-metadata:s:a:1",
        "language=ger",
    )
    yield Oddity(
        "the first is called a commentary",
        tracks(".mkv", *aac, *titled, sounds=(noise, FIRST)),
        FIRST,
        told=r"audio_track: 2 of 2 \(ger\)",
        passes=2,
    )
    unknown = ("-c:a:0", "dfpwm", "-c:a:1", "aac", "-disposition:a", "0")
    yield Oddity(
        "the first cannot be decoded",
        tracks(".mkv", *unknown, sounds=(noise, FIRST)),
        FIRST,
        told=second,
        passes=2,
    )


def _formats() -> Iterator[Oddity]:
    for name, suffix, arguments in (
        ("Flash video of MP3", ".flv", ("-c:a", "mp3", "-ar", "44100")),
        ("Flash video of AAC", ".flv", ("-c:a", "aac")),
        ("Flash video of Nellymoser", ".flv", ("-c:a", "nellymoser", "-ar", "22050")),
        ("Flash video of ADPCM", ".flv", ("-c:a", "adpcm_swf", "-ar", "22050")),
        ("AC-3", ".ac3", ()),
        ("AC-3 at 44.1 kHz", ".ac3", ("-ar", "44100")),
        ("Enhanced AC-3", ".eac3", ()),
        ("DTS", ".dts", ("-c:a", "dca", "-ar", "48000")),
        ("DTS in Matroska", ".mkv", ("-c:a", "dca", "-ar", "48000")),
        ("TrueHD in Matroska", ".mkv", ("-c:a", "truehd", "-ar", "48000")),
        ("WavPack", ".wv", ()),
        ("True Audio", ".tta", ()),
        ("G.722 in WAV", ".wav", ("-c:a", "g722")),
        ("G.726 in WAV", ".wav", ("-c:a", "g726", "-ar", "8000")),
        ("G.723.1 in WAV", ".wav", ("-c:a", "g723_1", "-ar", "8000", "-b:a", "6300")),
        ("Yamaha ADPCM in WAV", ".wav", ("-c:a", "adpcm_yamaha")),
    ):
        yield Oddity(name, written(suffix, *arguments), FIRST)
    yield Oddity("Speex", lambda _: SPEEX.read_bytes(), FIRST, least_likeness=0.85)
    yield Oddity("Monkey's Audio", lambda _: MONKEYS.read_bytes(), FIRST)
    yield Oddity("WMA Lossless", _lossless_wma, FIRST)
    little, big = {"sample_byte_format": "-s2 01"}, {"sample_byte_format": "-s2 10"}
    pcm = pcm16_from_waveform(FIRST)
    wide = {"sample_n_bytes": "-i 2", "sample_sig_bits": "-i 16"}
    yield Oddity("SPHERE", sphere("pcm", pcm, **wide, **little), FIRST)
    yield Oddity("SPHERE in big-endian order", sphere("pcm", _upper(FIRST, 2, ">"), **wide, **big), FIRST)
    short = sphere("pcm,embedded-shorten-v2.00", shortened_samples(pcm), **wide, **little)
    yield Oddity("SPHERE of Shorten", short, FIRST)
    mp3 = written(".mp3", "-b:a", "64k")
    for name, junk in (("zeros", bytes(8_000)), ("more zeros", bytes(60_000)), ("noise", _noise(30_000))):
        yield Oddity(f"MP3 behind {name}", following(_constant(junk), mp3), FIRST)


def _wavs() -> Iterator[Oddity]:
    for channels in (1, 2):
        yield Oddity(f"RIFX of {channels} channels", _big_endian(channels=channels), FIRST)
    yield Oddity("RIFX of 24 bits", _big_endian(sample_bytes=3), FIRST)
    yield Oddity("RIFX of 32 bits", _big_endian(sample_bytes=4), FIRST)
    yield Oddity("RIFX of floats", _big_endian_floats, FIRST)
    for valid_bits, sample_bytes in ((24, 4), (20, 3), (16, 4), (20, 4), (12, 2)):
        form = extensible(valid_bits=valid_bits, sample_bytes=sample_bytes)
        content = riff(form, _upper(FIRST, sample_bytes))
        yield Oddity(f"{valid_bits} bits in {8 * sample_bytes}", _constant(content), FIRST)
    plain = riff(wav_form(sample_bytes=4, bits=24), _upper(FIRST, 4))
    yield Oddity("24 bits in 32, not said to be so", _constant(plain), FIRST)
    floats = riff(wav_form(sample_bytes=4, bits=24), (FIRST * 2**23).astype("<f4").tobytes())
    yield Oddity("floats of Cool Edit", _constant(floats), FIRST)


def _channels() -> Iterator[Oddity]:
    opposite = ("-af", "pan=stereo|c0=c0|c1=-1*c0")
    nearly = ("-af", "pan=stereo|c0=c0|c1=-0.95*c0")
    yield Oddity("anti-phase stereo", written(".ogg", *opposite, "-c:a", "libopus", "-b:a", "96k"), FIRST)
    yield Oddity("anti-phase stereo in plain WAV", written(".wav", *opposite), FIRST, passes=0)
    yield Oddity("nearly anti-phase stereo", written(".flac", *nearly), FIRST)
    for channels in (9, 32, 60):
        everywhere = microphones(channels, spoken=slice(None))
        yield Oddity(f"{channels} channels", everywhere, FIRST, passes=2)
    yield Oddity("one of 60 microphones", microphones(60, spoken=slice(41, 42)), FIRST, passes=2)
    yield Oddity("six channels, the voice in the fourth", microphones(6, spoken=slice(3, 4)), FIRST, passes=2)
    yield Oddity("the voice behind in 5.1", microphones(6, spoken=slice(4, 5), mask=0x3F), FIRST)
    yield Oddity("only the bass channel of 5.1", microphones(6, spoken=slice(3, 4), mask=0x3F), silence(3.0))


def _chains() -> Iterator[Oddity]:
    def link(of: Waveform, channels: int, *codec: str) -> Builder:
        return written(".ogg", "-ac", str(channels), *(codec or ("-c:a", "libopus")), of=of)

    both = joined(FIRST, SECOND)
    yield Oddity("a chain of mono and mono", following(link(FIRST, 1), link(SECOND, 1)), both)
    yield Oddity("a chain of mono and stereo", following(link(FIRST, 1), link(SECOND, 2)), both, passes=2)
    yield Oddity(
        "a chain that changes twice",
        following(link(FIRST, 2), link(SECOND, 1), link(SECOND, 1), link(FIRST, 2)),
        joined(FIRST, SECOND, SECOND, FIRST),
        passes=3,
    )
    vorbis = ("-c:a", "libvorbis")
    yield Oddity("a chain of two codecs", following(link(FIRST, 1), link(SECOND, 1, *vorbis)), both, passes=2)
    yield Oddity(
        "a chain with a broken link",
        following(link(FIRST, 1), _broken(link(SECOND, 1, *vorbis))),
        FIRST,
        told="could not be decoded",
        passes=2,
    )
    yield Oddity(
        "a chain of two rates",
        following(link(FIRST, 1, *vorbis, "-ar", "44100"), link(SECOND, 1, *vorbis, "-ar", "48000")),
        both,
        passes=2,
    )
    yield Oddity(
        "AC-3 whose channels change", following(written(".ac3"), written(".ac3", "-ac", "2", of=SECOND)), both
    )


def _losses() -> Iterator[Oddity]:
    front = ("-movflags", "+faststart")
    kept = FIRST[: samples_from_seconds(1.7)]
    yield Oddity(
        "MP4 cut short", shortened(written(".mp4", "-c:a", "aac", *front)), kept, told="before the length"
    )
    yield Oddity(
        "Matroska cut short", shortened(written(".mkv", "-c:a", "flac")), kept, told="before the length"
    )
    yield Oddity("MP3 cut short", shortened(written(".mp3")), kept, told="before the length")
    yield Oddity("WAV cut short", shortened(written(".wav")), kept, told="ends 1.2 s before the length")
    yield Oddity(
        "Ogg cut within a page",
        shortened(written(".ogg", "-c:a", "libopus", of=joined(FIRST, FIRST))),
        FIRST,
        told="end is cut off",
    )
    for suffix in (".flac", ".m4a", ".mkv"):
        yield Oddity(
            f"noise within {suffix}",
            _with_noise(written(suffix, *front, of=joined(FIRST, FIRST))),
            joined(FIRST, FIRST),
            told="could not be decoded",
            least_likeness=0.3,
        )


def _broken(build: Builder) -> Builder:
    """A link of Ogg whose first page alone is whole."""
    return lambda folder: build(folder)[:58] + _noise(2_000)


def _with_noise(build: Builder) -> Builder:
    def damaged(folder: Path) -> bytes:
        content = build(folder)
        middle = len(content) // 2
        return content[:middle] + _noise(400) + content[middle + 400 :]

    return damaged


def _noise(count: int) -> bytes:
    return np.random.default_rng(2).bytes(count)


def _constant(content: bytes) -> Builder:
    return lambda _: content
