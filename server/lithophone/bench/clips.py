"""What the models are given to hear: files of the user's, or the speech that comes with the package.

Owns reading folders with an optional `manifest.jsonl` (`file`, `text`) and decoding. No torch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from lithophone.audio.decode import decode_audio
from lithophone.audio.stream import DecodeLimits
from lithophone.audio.waveform import (
    Waveform,
    samples_from_seconds,
    seconds_from_samples,
    waveform_from_pcm16,
)
from lithophone.bench import BenchOptions
from lithophone.errors import ConfigurationError, LithophoneError
from lithophone.granite.family import ModelSpec

MANIFEST = "manifest.jsonl"
AUDIO_SUFFIXES = frozenset(
    "." + kind for kind in ["aac", "flac", "m4a", "mp3", "mp4", "mpga", "oga", "ogg", "opus", "wav", "webm"]
)
LONGEST_FILE_SECONDS = 3600.0
JOINED_SECONDS = 30.0
DEMONSTRATION = Path(__file__).parent / "speech"
PAUSE_SAMPLES = samples_from_seconds(0.3)


class BenchClip(msgspec.Struct, frozen=True, eq=False):
    """A clip: where it is from, float32 [samples] at 16 kHz, and what is said in it, if that is known."""

    name: str
    samples: Waveform
    text: str | None = None

    @property
    def seconds(self) -> float:
        """Its length."""
        return seconds_from_samples(len(self.samples))


class _Entry(msgspec.Struct, frozen=True):
    """A line of a manifest; what else stands there does not matter here."""

    file: str
    text: str | None = None


def choose_clips(options: BenchOptions, spec: ModelSpec, *, joined: bool) -> tuple[list[BenchClip], str]:
    """What is heard, and how to call it; `joined` as where a length is asked for: the package's speech in clips of one length.

    Raises:
        ConfigurationError: a path holds no audio, or the model does not hear clips as long as that.
    """
    longest = spec.max_window_seconds
    seconds = options.seconds or min(JOINED_SECONDS, longest)
    if seconds > longest:
        raise ConfigurationError(f"--seconds {seconds:g}: {spec.id} hears at most {longest:g} s at once")
    if not options.audio and (joined or options.seconds):
        said = f"speech that comes with Lithophone, joined to {seconds:g} s a clip (--audio takes other)"
        return joined_clips(max(options.batches), seconds), said
    if options.audio:
        clips, named = read_clips(options.audio, seconds, options.clips), ", ".join(options.audio)
    else:
        clips, named = demonstration_clips()[: options.clips], "the speech that comes with Lithophone"
    total = sum(clip.seconds for clip in clips)
    return clips, f"{len(clips)} clips of {named}, {total:.0f} s, each up to {seconds:g} s"


def read_clips(paths: Sequence[str], longest_seconds: float, most: int | None = None) -> list[BenchClip]:
    """The clips of files and folders, each cut to its first `longest_seconds`; only `most`, spread evenly over all.

    Where a folder has a manifest, its files and no others count.

    Raises:
        ConfigurationError: a path does not exist, holds no audio, or cannot be decoded.
    """
    entries = [entry for path in paths for entry in _entries(Path(path).expanduser())]
    if most is not None and most < len(entries):
        entries = [entries[round(place)] for place in np.linspace(0, len(entries) - 1, most)]
    return [_clip(entry, samples_from_seconds(longest_seconds)) for entry in entries]


def _clip(entry: _Entry, most_samples: int) -> BenchClip:
    """A clip that had to be cut has lost an unknown part of its transcript, and so has none."""
    path = Path(entry.file)
    try:
        samples = waveform_from_pcm16(asyncio.run(_read(path)))
    except (OSError, LithophoneError) as error:
        raise ConfigurationError(f"--audio {path}: {error}") from None
    return BenchClip(path.name, samples[:most_samples], entry.text if len(samples) <= most_samples else None)


async def _read(path: Path) -> bytes:
    limits = DecodeLimits(max_audio_seconds=LONGEST_FILE_SECONDS)
    with path.open("rb") as file:
        async with decode_audio(file, limits=limits) as stream:
            return b"".join([block async for block in stream])


def _entries(path: Path) -> list[_Entry]:
    manifest = path / MANIFEST
    if manifest.is_file():
        try:
            listed = msgspec.json.Decoder(_Entry).decode_lines(manifest.read_bytes())
        except msgspec.DecodeError as error:
            raise ConfigurationError(f"{manifest}: {error}") from None
        return [_Entry(str(path / entry.file), entry.text) for entry in listed]
    files = (
        [path]
        if path.is_file()
        else [file for file in sorted(path.glob("*")) if file.suffix.lower() in AUDIO_SUFFIXES]
    )
    if not files:
        raise ConfigurationError(f"--audio {path}: there is no such file, or the folder holds no audio files")
    return [_Entry(str(file)) for file in files]


def demonstration_clips() -> list[BenchClip]:
    """The synthesised utterances that come with the package, 2 to 8 s each, with what is said in them."""
    return read_clips([str(DEMONSTRATION)], LONGEST_FILE_SECONDS)


def joined_clips(count: int, seconds: float) -> list[BenchClip]:
    """So many different clips of one length, of those utterances one behind the other and over again."""
    parts = [np.pad(clip.samples, (0, PAUSE_SAMPLES)) for clip in demonstration_clips()]
    most = samples_from_seconds(seconds)
    return [
        BenchClip(f"joined {number}", np.resize(np.concatenate([*parts[first:], *parts[:first]]), most))
        for number in range(count)
        for first in [number % len(parts)]
    ]
