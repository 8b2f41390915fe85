"""Which recordings are meant: files, folders, patterns, object stores, and a folder that fills up.

Owns finding them and the place each one's documents get. Reads no audio: in folders a name tells what may be a recording.
"""

from __future__ import annotations

import asyncio
import glob
import os
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from pathlib import Path, PurePath, PurePosixPath
from typing import Final, NamedTuple

import msgspec

from lithophone.errors import ConfigurationError
from lithophone.transcribe.objects import Listed, ObjectSource, ObjectStore, is_location
from lithophone.transcribe.sources import FileSource, Source, State

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

    source: Source
    place: str

    @property
    def file(self) -> str:
        """Its own path below what was named on the command line."""
        return str(PurePosixPath(self.place).with_name(self.source.name))


def find_recordings(paths: Sequence[str], *, recursive: bool) -> list[Recording]:
    """Every recording once, in the order of the paths, those of a folder by name.

    Args:
        paths: Files, folders, patterns such as `talks/**/*.mp3`, or locations such as `s3://bucket/talks`. What lies below a
            folder, or below the part of a pattern before its first wildcard, keeps its sub-folder.
        recursive: Look into the sub-folders of folders.

    Raises:
        ConfigurationError: a path is nothing, or two recordings would have their documents in one place.
    """
    found: dict[str, Found] = {}
    for path in paths:
        for one in (_objects if is_location(path) else _files)(path, recursive=recursive):
            found.setdefault(str(one.source), one)
    return _placed(list(found.values()))


class Found(NamedTuple):
    """A recording, and its path below the folder that was named."""

    source: Source
    relative: PurePath


def _objects(location: str, *, recursive: bool) -> Iterator[Found]:
    """Each recording in an object store that a location means.

    Raises:
        ConfigurationError: there is no such store, it refuses, or there is nothing at this place.
    """
    from lithophone.transcribe.arrow_store import open_store  # noqa: PLC0415 - an extra

    store, key = open_store(location)
    shown = f"{store.scheme}://{key}"
    try:
        listed = store.find(key, recursive=recursive)
    except OSError as error:
        raise ConfigurationError(f"{shown}: {error}") from None
    if not listed:
        raise ConfigurationError(f"there is nothing at {shown}")
    yield from objects_found(store, key, listed)


def objects_found(store: ObjectStore, key: str, listed: Sequence[Listed]) -> Iterator[Found]:
    """The recordings among what was listed at a key, by name: the object of that key, or those below it that look like one."""
    root = PurePosixPath(key)
    for one in sorted(listed, key=lambda one: one.key):
        path = PurePosixPath(one.key)
        if path == root:
            yield Found(ObjectSource(store, one), PurePosixPath(path.name))
        elif _looks_like_a_recording(relative := path.relative_to(root)):
            yield Found(ObjectSource(store, one), relative)


def _looks_like_a_recording(relative: PurePath) -> bool:
    """By its name; what is hidden, such as the `._…` files of macOS, does not."""
    return relative.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in relative.parts)


def _files(path: str, *, recursive: bool) -> Iterator[Found]:
    """Each file that a path means."""
    for file, root in _paths(path, recursive=recursive):
        yield Found(FileSource(file), file.relative_to(root))


def _paths(path: str, *, recursive: bool) -> Iterator[tuple[Path, Path]]:
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
    """Recordings by their names."""
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if recursive and not name.startswith("."))
        for name in sorted(files):
            if _looks_like_a_recording(PurePath(name)):
                yield Path(here, name)


def _fixed_part(pattern: Path) -> Path:
    """The folder before the first wildcard."""
    parts = pattern.parts
    first = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:first])


def _placed(found: Sequence[Found]) -> list[Recording]:
    """`talk.mp3` gives `talk`; beside a `talk.wav` it keeps its suffix, as both would be written to one file."""
    plain = Counter(relative.with_suffix("") for _, relative in found)
    recordings = [
        Recording(
            source=source,
            place=(relative if plain[relative.with_suffix("")] > 1 else relative.with_suffix("")).as_posix(),
        )
        for source, relative in found
    ]
    _refuse_shared_places(recordings)
    return recordings


def _refuse_shared_places(recordings: Iterable[Recording]) -> None:
    taken: dict[str, Source] = {}
    for recording in recordings:
        other = taken.setdefault(recording.place, recording.source)
        if other is not recording.source:
            raise ConfigurationError(
                f"{other} and {recording.source} would be written to one file; give each folder a run and an --output-dir "
                "of its own, or name the folder above both with --recursive"
            )


async def watched_recordings(
    paths: Sequence[str], *, recursive: bool, look_seconds: float = LOOK_SECONDS
) -> AsyncGenerator[Recording]:
    """Recordings as they come, for ever; each once it has stopped growing, and again when it was replaced."""
    before: dict[str, State] = {}
    given: dict[str, State] = {}
    while True:
        now: dict[str, State] = {}
        for recording in await asyncio.to_thread(find_recordings, paths, recursive=recursive):
            try:
                now[recording.place] = state = recording.source.state()
            except OSError:  # gone again
                continue
            if state == before.get(recording.place) != given.get(recording.place):
                given[recording.place] = state
                yield recording
        before = now
        await asyncio.sleep(look_seconds)
