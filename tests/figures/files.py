"""Files of every format the bundled ffmpeg can write, with one recording in them.

Owns what is written: the recording, the formats, and how a file is laid out or damaged. Knows nothing of decoding.
"""

from __future__ import annotations

import random
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lithophone.audio.ffmpeg import bundled_ffmpeg
from lithophone.audio.waveform import SAMPLE_RATE, Waveform, samples_from_seconds
from tests.recordings import likeness, silence, syllables, wav_bytes

SECONDS = 10.0
OFFSET_SECONDS = 4.0
GAP_START_SECONDS = 5.0
GAP_SECONDS = 12.0
READABLE = 0.8
CONTAINERS = (
    *(
        "wav",
        "w64",
        "mov",
        "mp4",
        "matroska",
        "flv",
        "avi",
        "asf",
        "mpegts",
        "vob",
        "ogg",
        "caf",
        "aiff",
        "au",
    ),
)
TIMED = frozenset(
    ("mov", "mp4", "ipod", "3gp", "3g2", "matroska", "webm", "flv", "asf", "mpegts", "vob", "mpeg", "ogg")
)
CONSTANT = frozenset(("mov", "mp4"))  # of PCM, ffmpeg writes them as if every sample followed the one before
RATES = (48_000, 16_000, 8_000, 22_050)  # some encoders take only one of them
TRUE_RATES = {
    "amr": (8_000,),
    "flv": (44_100, 22_050, 16_000, 8_000),
}  # others are written, but not told the reader
# Muxers that write no file of sound: devices, networks, lists, sums and pictures.
NO_FILES = re.compile(
    r"alsa|oss|pulse|sdl|fbdev|v4l|xv|opengl|rtp|rtsp|sap|whip|hls|dash|hds|smooth|segment|tee|fifo|null|hash|md5|crc|"
    r"image|gif|apng|webp|avif|chromaprint|ffmetadata|decklink|caca|psp|svcd|vcd|dvd"
)


def recording() -> Waveform:
    """What is in every file; float32 [samples]."""
    return syllables(SECONDS)


@dataclass(frozen=True)
class Format:
    """A muxer, an audio encoder, and the video encoder that goes with it."""

    muxer: str
    encoder: str
    video: str = ""

    def __str__(self) -> str:
        return f"{self.encoder} in {self.muxer}"

    def can_hold(self, layout: str) -> bool:
        """Whether the times of such a file can say that sound begins late or stops."""
        if layout == "gap" and self.muxer in CONSTANT and self.encoder.startswith(("pcm", "adpcm")):
            return False
        return layout == "plain" or self.muxer in TIMED


def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    """The bundled ffmpeg; whether it succeeded is the caller's to see."""
    command = [bundled_ffmpeg(), "-nostdin", "-hide_banner", "-loglevel", "error", "-y", *arguments]
    return subprocess.run(command, capture_output=True, check=False, timeout=60)


def _names(kind: str, flags: str) -> list[str]:
    listing = run(f"-{kind}").stdout.decode()
    return [match.group(1).split(",")[0] for match in re.finditer(rf"^ {flags} (\S+)", listing, re.MULTILINE)]


def muxer_defaults() -> Iterator[Format]:
    """Every muxer with its default encoders."""
    for muxer in _names("muxers", r" ?E +"):
        if NO_FILES.search(muxer):
            continue
        told = dict(
            re.findall(r"Default (\w+) codec: (\S+?)\.?\n", run("-h", f"muxer={muxer}").stdout.decode())
        )
        if "audio" in told and told["audio"] != "none":
            yield Format(muxer, told["audio"], told.get("video", ""))


def formats() -> list[Format]:
    """Every muxer with its default encoder, and every audio encoder in every container of general use."""
    defaults = list(muxer_defaults())
    video = {default.muxer: default.video for default in defaults}
    encoders = _names("encoders", r"A[.\w]{5}")
    pairs = (Format(muxer, encoder, video.get(muxer, "")) for muxer in CONTAINERS for encoder in encoders)
    return list(dict.fromkeys((*defaults, *pairs)))


@dataclass(frozen=True)
class Writer:
    """Writes the recording into a folder."""

    folder: Path

    @property
    def source(self) -> Path:
        """The recording as a WAV file."""
        path = self.folder / "recording.wav"
        if not path.exists():
            path.write_bytes(wav_bytes(recording()))
        return path

    def write(self, written: Format, *, layout: str = "plain", channels: str = "mono") -> Path | None:
        """A file of that format; None if ffmpeg cannot write it."""
        path = self.folder / "written"
        for rate in _rates(written):
            path.unlink(missing_ok=True)
            done = run(
                *self._inputs(written, layout),
                *("-af", f"aresample={rate},{_SHAPES[layout]}{_CHANNELS[channels]}"),
                *("-c:a", written.encoder, "-strict", "-2", "-f", written.muxer, str(path)),
            )
            if done.returncode == 0 and path.exists() and path.stat().st_size > 100:
                return path if channels == "mono" or not _is_mono(path) else None
        return None

    def is_readable(self, path: Path) -> bool:
        """Whether an ffmpeg without limits gets the recording back."""
        pcm = run("-i", str(path), "-ac", "1", "-ar", str(SAMPLE_RATE), "-f", "f32le", "pipe:1").stdout
        waveform = np.frombuffer(pcm[: len(pcm) // 4 * 4], "<f4")
        return len(waveform) > SAMPLE_RATE and likeness(waveform, recording()) > READABLE

    def _inputs(self, written: Format, layout: str) -> tuple[str, ...]:
        offset = ("-itsoffset", str(OFFSET_SECONDS)) if layout == "offset" else ()
        audio = (*offset, "-i", str(self.source))
        if layout == "offset" and written.video and written.video != "none":
            return ("-f", "lavfi", "-i", "testsrc=s=64x64:r=25:d=15", *audio, "-map", "1:a", "-map", "0:v")
        return (*audio, "-map", "0:a")


def _rates(written: Format) -> tuple[int, ...]:
    return next((rates for name, rates in TRUE_RATES.items() if name in str(written)), RATES)


def _is_mono(path: Path) -> bool:
    """Whether the encoder took only one of the channels."""
    told = run("-loglevel", "info", "-i", str(path)).stderr.decode(errors="replace")
    return re.search(r"Audio: .* (mono|1 channels)", told) is not None


_SHAPES = {
    "plain": "",
    "offset": "",
    "gap": f"asetpts='PTS+if(gt(T,{GAP_START_SECONDS}),{GAP_SECONDS}/TB,0)',",
}
_CHANNELS = {
    "mono": "aformat=channel_layouts=mono",
    "antiphase": "pan=stereo|c0=c0|c1=-1*c0",
    "left": "pan=stereo|c0=c0|c1=0*c0",
    "centre": "pan=5.1|FL=0*c0|FR=0*c0|FC=c0|LFE=0*c0|BL=0*c0|BR=0*c0",
}


def laid_out(layout: str) -> Waveform:
    """What the file of a layout sounds like, on its clock."""
    sound = recording()
    match layout:
        case "offset":
            return np.concatenate((silence(OFFSET_SECONDS), sound))
        case "gap":
            cut = samples_from_seconds(GAP_START_SECONDS)
            return np.concatenate((sound[:cut], silence(GAP_SECONDS), sound[cut:]))
        case _:
            return sound


def damaged(content: bytes, damage: str) -> bytes:
    """The bytes of a file after something happened to them."""
    size, middle = len(content), len(content) // 2
    part = size // 20
    chance = random.Random(3)  # noqa: S311 - test data, no secret
    match damage:
        case "cut short":
            return content[: size * 6 // 10]
        case "noise":
            return content[:middle] + chance.randbytes(part) + content[middle + part :]
        case "zeros":
            return content[:middle] + bytes(part) + content[middle + part :]
        case "a part taken out":
            return content[:middle] + content[middle + part :]
        case _:
            flipped = bytearray(content)
            for _ in range(30):
                flipped[chance.randrange(size // 10, size)] ^= 1 << chance.randrange(8)
            return bytes(flipped)


DAMAGES = ("cut short", "noise", "zeros", "a part taken out", "bits flipped")
