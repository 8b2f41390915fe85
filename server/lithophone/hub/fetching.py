"""A model from the hub into the cache.

Owns the order: what the cache has whole is taken without a word over the network; else the hub is asked what there is, the
disk is asked for room, the files are downloaded, and each is given its name.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import structlog

from lithophone.errors import CheckpointError
from lithophone.hub.cache import (
    Repository,
    Snapshot,
    damaged_blobs,
    find_snapshot,
    lacks,
    link,
    write_ref,
)
from lithophone.hub.download import Download, forget_leftovers, require_room
from lithophone.hub.layout import (
    CONFIG,
    CONFIG_FILES,
    INDEX_BYTES,
    WEIGHTS_INDEX,
    small_files,
    weight_files,
)
from lithophone.hub.progress import OnFetched, ignore
from lithophone.hub.refusals import UNREACHABLE, reason, refuse_unfetchable
from lithophone.hub.remote import Listing, list_files

log = structlog.get_logger(__name__)


def fetch_config(repository: Repository) -> Snapshot:
    """The folder with at least the files that tell which model it is and how large.

    Raises:
        CheckpointError: they cannot be had.
    """
    with refuse_unfetchable(repository):
        cached = find_snapshot(repository)
        if cached is not None and (cached.path / CONFIG).is_file():
            return cached
        listing = list_files(repository)
        return _fetch(repository, listing, [name for name in CONFIG_FILES if name in listing.files])


def fetch_model(repository: Repository, tell: OnFetched = ignore, *, newest: bool = False) -> Snapshot:
    """The folder with everything that the model takes.

    Args:
        repository: Which.
        tell: Hears how far the download is.
        newest: Ask the hub for a newer commit of the branch, even where the cache is whole.

    Raises:
        CheckpointError: it cannot be had; says what to do.
    """
    with refuse_unfetchable(repository):
        cached = find_snapshot(repository)
        whole = cached is not None and lacks(cached) is None
        if cached is not None and whole and not (newest and not repository.is_pinned):
            return cached
        try:
            listing = list_files(repository)
        except UNREACHABLE as error:
            if cached is None or not whole:
                raise
            log.warning(
                "hub_not_asked",
                model=repository.hub_id,
                reason=reason(repository, error),
                commit=cached.commit,
            )
            return cached
        return _fetch_all(repository, listing, tell)


def fetch_anew(repository: Repository, snapshot: Snapshot) -> tuple[str, ...]:
    """Check every file of a snapshot by its hash and forget those that are damaged; returns their names.

    Raises:
        CheckpointError: one cannot be read or removed.
    """
    with refuse_unfetchable(repository):
        damaged = list(damaged_blobs(snapshot))
        for name, blob in damaged:
            (snapshot.path / name).unlink(missing_ok=True)
            blob.unlink(missing_ok=True)
            log.warning("damaged_file_removed", model=repository.hub_id, file=name, blob=str(blob))
        return tuple(name for name, _ in damaged)


def fetch_sample(repository: Repository, name: str) -> Path | None:
    """One more file of the repository; None where it has none of this name, or cannot be asked."""
    cached = find_snapshot(repository)
    if cached is not None and (cached.path / name).is_file():
        return cached.path / name
    try:
        with refuse_unfetchable(repository):
            listing = list_files(repository)
            if name not in listing.files:
                return None
            return _fetch(repository, listing, [name]).path / name
    except CheckpointError as error:
        log.info("sample_not_fetched", file=name, reason=error.message)
        return None


def _fetch_all(repository: Repository, listing: Listing, tell: OnFetched) -> Snapshot:
    """What is small comes first: the index says which of the large files belong to the model."""
    small = small_files(listing.files)
    snapshot = _fetch(repository, listing, small)
    try:
        large = weight_files(listing.files, _read_index(snapshot.path / WEIGHTS_INDEX))
    except CheckpointError as error:
        raise CheckpointError(f"{repository.hub_id} cannot be used: {error.message}") from None
    log.info("fetching", model=repository.hub_id, commit=listing.commit, files=len(large))
    fetched = _fetch(repository, listing, large, tell)
    forget_leftovers(repository)
    return fetched


def _read_index(file: Path) -> bytes | None:
    return file.read_bytes() if file.is_file() and file.stat().st_size <= INDEX_BYTES else None


def _fetch(
    repository: Repository, listing: Listing, names: Iterable[str], tell: OnFetched = ignore
) -> Snapshot:
    files = [listing.files[name] for name in names]
    require_room(repository, files)
    Download(repository, listing.commit, files, tell).run()
    for file in files:
        link(repository, listing.commit, file.name, file.etag)
    write_ref(repository, listing.commit)
    return Snapshot(repository.folder / "snapshots" / listing.commit, listing.commit)
