"""What the cache of the hub's library holds: its folders, in the layout that all programs share.

Owns finding the snapshot of a revision, whether it is whole, and whether its files are what their names say: a blob is
called by its hash. Needs no network.

Source of the layout: https://huggingface.co/docs/huggingface_hub/guides/manage-cache.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
from huggingface_hub import constants
from huggingface_hub.file_download import repo_folder_name

from lithophone.errors import CheckpointError
from lithophone.hub.layout import CONFIG, WEIGHTS_INDEX, lacking

DEFAULT_REVISION: Final = "main"
HASHED_BYTES: Final = 16 << 20
SHA256_DIGITS: Final = 64

_COMMIT = re.compile(r"[0-9a-f]{40}")
_ETAG = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class Repository(msgspec.Struct, frozen=True):
    """A model on the hub, at a branch, tag or commit."""

    hub_id: str
    revision: str = DEFAULT_REVISION

    @property
    def folder(self) -> Path:
        """Where the cache keeps it."""
        return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=self.hub_id, repo_type="model")

    @property
    def locks(self) -> Path:
        """Where the library keeps the locks of its files."""
        return Path(constants.HF_HUB_CACHE) / ".locks" / self.folder.name

    @property
    def is_pinned(self) -> bool:
        """Whether the revision is a commit, which never changes."""
        return _COMMIT.fullmatch(self.revision) is not None


class Snapshot(msgspec.Struct, frozen=True):
    """A folder with the files of one commit, or some of them."""

    path: Path
    commit: str


def find_snapshot(repository: Repository) -> Snapshot | None:
    """The snapshot of the revision as it was fetched last; None where it never was."""
    commit = repository.revision if repository.is_pinned else _read_ref(repository)
    if commit is None:
        return None
    path = repository.folder / "snapshots" / commit
    return Snapshot(path, commit) if path.is_dir() else None


def _read_ref(repository: Repository) -> str | None:
    try:
        return (repository.folder / "refs" / repository.revision).read_text().strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def lacks(snapshot: Snapshot) -> str | None:
    """The first file that the model would miss; None where it is whole. What an index cannot tell counts as missing."""
    there = {file.name for file in snapshot.path.iterdir() if file.is_file()}  # a link to a lost blob is none
    config = _read(snapshot.path / CONFIG)
    if config is None:
        return CONFIG
    try:
        return lacking(
            there,
            config,
            _read(snapshot.path / "tokenizer_config.json"),
            _read(snapshot.path / WEIGHTS_INDEX),
        )
    except CheckpointError:
        return WEIGHTS_INDEX


def _read(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except OSError:
        return None


def damaged_blobs(snapshot: Snapshot) -> Iterator[tuple[str, Path]]:
    """The files whose content is not what their blob's name says, with that blob. Reads all of them."""
    for file in sorted(snapshot.path.iterdir()):
        blob = file.resolve()
        if blob.is_file() and _ETAG.fullmatch(blob.name) and not is_whole(blob, blob.name):
            yield file.name, blob


def is_whole(file: Path, etag: str) -> bool:
    """Whether a file's hash is the one it is called by: git's SHA-1 of a small file, the SHA-256 of a large one."""
    if len(etag) == SHA256_DIGITS:
        digest = hashlib.sha256()
    else:
        digest = hashlib.sha1(usedforsecurity=False)
        digest.update(b"blob %d\0" % file.stat().st_size)
    with file.open("rb") as content:
        while block := content.read(HASHED_BYTES):
            digest.update(block)
    return digest.hexdigest() == etag


def link(repository: Repository, commit: str, name: str, etag: str) -> None:
    """Give a blob its name in a snapshot."""
    file = repository.folder / "snapshots" / commit / name
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(Path("..") / ".." / "blobs" / etag)
    fresh.replace(file)


def write_ref(repository: Repository, commit: str) -> None:
    """Keep which commit the revision is; in one move, since others may read it."""
    if repository.is_pinned or _read_ref(repository) == commit:
        return
    ref = repository.folder / "refs" / repository.revision
    ref.parent.mkdir(parents=True, exist_ok=True)
    fresh = ref.with_name(f".{ref.name}.{os.getpid()}")
    fresh.write_text(commit)
    fresh.replace(ref)
