"""What the models are given to hear: files of the user's, or the demonstration's.

Owns reading folders with an optional `manifest.jsonl` (`file`, `text`), decoding, and the speech that comes with the package.
No torch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
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
from lithophone.errors import ConfigurationError, LithophoneError

MANIFEST = "manifest.jsonl"
AUDIO_SUFFIXES = frozenset(
    {".aac", ".flac", ".m4a", ".mp3", ".mp4", ".mpga", ".oga", ".ogg", ".opus", ".wav", ".webm"}
)
LONGEST_FILE_SECONDS = 3600.0
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


def read_clips(paths: Sequence[str], longest_seconds: float, most: int | None = None) -> list[BenchClip]:
    """The clips of files and folders, each cut to its first `longest_seconds`.

    Args:
        paths: Audio files, or folders of them; where a folder has a manifest, its files and no others count.
        longest_seconds: What the model hears at once.
        most: Take only so many, spread evenly over all.

    Raises:
        ConfigurationError: a path does not exist, holds no audio, or cannot be decoded.
    """
    entries = [entry for path in paths for entry in _entries(Path(path).expanduser())]
    if most is not None and most < len(entries):
        entries = [entries[round(place)] for place in np.linspace(0, len(entries) - 1, most)]
    return [_clip(path, text, samples_from_seconds(longest_seconds)) for path, text in entries]


def _clip(path: Path, text: str | None, most_samples: int) -> BenchClip:
    """A clip that had to be cut has lost an unknown part of its transcript, and so has none."""
    samples = _decoded(path)
    return BenchClip(path.name, samples[:most_samples], text if len(samples) <= most_samples else None)


def _entries(path: Path) -> Iterator[tuple[Path, str | None]]:
    if path.is_file():
        yield path, None
        return
    if not path.is_dir():
        raise ConfigurationError(f"--audio {path}: there is no such file or folder")
    found = list(_listed(path / MANIFEST) if (path / MANIFEST).is_file() else _audio_files(path))
    if not found:
        raise ConfigurationError(f"--audio {path}: the folder holds no audio files")
    yield from found


def _audio_files(folder: Path) -> Iterator[tuple[Path, str | None]]:
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() in AUDIO_SUFFIXES:
            yield file, None


def _listed(manifest: Path) -> Iterator[tuple[Path, str | None]]:
    for line in manifest.read_text(encoding="utf-8").splitlines():
        try:
            entry = msgspec.json.decode(line, type=_Entry)
        except msgspec.DecodeError as error:
            raise ConfigurationError(f"{manifest}: {error}") from None
        yield manifest.parent / entry.file, entry.text


def _decoded(path: Path) -> Waveform:
    try:
        return waveform_from_pcm16(asyncio.run(_read(path)))
    except (OSError, LithophoneError) as error:
        raise ConfigurationError(f"--audio {path}: {error}") from None


async def _read(path: Path) -> bytes:
    limits = DecodeLimits(max_audio_seconds=LONGEST_FILE_SECONDS)
    with path.open("rb") as file:
        async with decode_audio(file, limits=limits) as stream:
            return b"".join([block async for block in stream])


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
