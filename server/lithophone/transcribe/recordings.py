"""Which recordings are meant: files, folders, patterns, and a folder that fills up.

Owns finding them and the place each one's documents get. Reads no audio: in folders a name tells what may be a recording.
"""

from __future__ import annotations

import asyncio
import glob
import os
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from lithophone.errors import ConfigurationError

SUFFIXES: Final = frozenset(
    f".{suffix}"
    for suffix in [
        "3gp",
        "aac",
        "ac3",
        "aif",
        "aiff",
        "amr",
        "asf",
        "au",
        "avi",
        "caf",
        "flac",
        "m2ts",
        "m4a",
        "m4b",
        "m4v",
        "mka",
        "mkv",
        "mov",
        "mp2",
        "mp3",
        "mp4",
        "mpeg",
        "mpg",
        "mpga",
        "oga",
        "ogg",
        "ogv",
        "opus",
        "snd",
        "ts",
        "w64",
        "wav",
        "weba",
        "webm",
        "wma",
        "wmv",
    ]
)
"""Of files in folders that are taken for recordings; a file that is named is always tried."""

LOOK_SECONDS: Final = 1.0
"""Between two looks into a folder that is watched."""


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """A file to be transcribed. `place` is where its documents go: a path below the output folder, without a suffix."""

    path: Path
    place: str


class State(NamedTuple):
    """What tells that a file was written to: its size, and when it was changed last."""

    size_bytes: int
    changed_ns: int


def state_of(path: Path) -> State:
    """A file's state now.

    Raises:
        OSError: it is not there.
    """
    found = path.stat()
    return State(found.st_size, found.st_mtime_ns)


def find_recordings(paths: Sequence[str], *, recursive: bool) -> list[Recording]:
    """Every recording once, in the order of the paths, those of a folder by name.

    Args:
        paths: Files, folders, or patterns such as `talks/**/*.mp3`. What lies below a folder, or below the part of a pattern
            before its first wildcard, keeps its sub-folder.
        recursive: Look into the sub-folders of folders.

    Raises:
        ConfigurationError: a path is nothing, or two recordings would have their documents in one place.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        for file, root in _files(path, recursive=recursive):
            found.setdefault(file, file.relative_to(root))
    return _placed(found.items())


def _files(path: str, *, recursive: bool) -> Iterator[tuple[Path, Path]]:
    """Each file a path means, and the folder its place is relative to."""
    named = Path(path)
    if named.is_dir():
        yield from ((file, named) for file in _below(named, recursive=recursive))
    elif named.exists():
        yield named, named.parent
    elif glob.has_magic(path):
        root = _fixed_part(named)
        matches = sorted(Path(match) for match in glob.glob(path, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
        yield from ((match, root) for match in matches if match.is_file())
    else:
        raise ConfigurationError(f"{path} does not exist")


def _below(folder: Path, *, recursive: bool) -> Iterator[Path]:
    """Recordings by their names; hidden ones, such as the `._…` files of macOS, are not."""
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if recursive and not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                yield Path(here, name)


def _fixed_part(pattern: Path) -> Path:
    """The folder before the first wildcard."""
    parts = pattern.parts
    first = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:first])


def _placed(found: Iterable[tuple[Path, Path]]) -> list[Recording]:
    """`talk.mp3` gives `talk`; beside a `talk.wav` it keeps its suffix, as both would be written to one file."""
    pairs = list(found)
    plain = Counter(relative.with_suffix("") for _, relative in pairs)
    recordings = [
        Recording(
            path=path,
            place=(relative if plain[relative.with_suffix("")] > 1 else relative.with_suffix("")).as_posix(),
        )
        for path, relative in pairs
    ]
    _refuse_shared_places(recordings)
    return recordings


def _refuse_shared_places(recordings: Iterable[Recording]) -> None:
    taken: dict[str, Path] = {}
    for recording in recordings:
        other = taken.setdefault(recording.place, recording.path)
        if other != recording.path:
            raise ConfigurationError(
                f"{other} and {recording.path} would be written to one file; give each folder a run and an --output-dir "
                "of its own, or name the folder above both with --recursive"
            )


async def watched_recordings(
    paths: Sequence[str], *, recursive: bool, look_seconds: float = LOOK_SECONDS
) -> AsyncGenerator[Recording]:
    """Recordings as they come, for ever; each once it has stopped growing, and again when it was replaced."""
    before: dict[Path, State] = {}
    given: dict[Path, State] = {}
    while True:
        now: dict[Path, State] = {}
        for recording in await asyncio.to_thread(find_recordings, paths, recursive=recursive):
            try:
                now[recording.path] = state = state_of(recording.path)
            except OSError:  # gone again
                continue
            if state == before.get(recording.path) != given.get(recording.path):
                given[recording.path] = state
                yield recording
        before = now
        await asyncio.sleep(look_seconds)
