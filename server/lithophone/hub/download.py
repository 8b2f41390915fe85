"""The files of a commit, from the hub into the blobs of the cache.

Owns that each is written behind what is there of it, checked by its hash, and seen under its name only when it is whole. A
process may be killed at any moment: the next one goes on from the same byte. Two that fetch the same file take turns by the
library's own locks.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import structlog
from huggingface_hub import constants
from huggingface_hub.utils import WeakFileLock

from lithophone.errors import CheckpointError
from lithophone.hub.cache import Repository, is_whole
from lithophone.hub.progress import OnFetched, Progress
from lithophone.hub.remote import PAUSES_SECONDS, RemoteFile, is_transient, read_bytes, retry_after_seconds

log = structlog.get_logger(__name__)

FILES_AT_A_TIME: Final = 4
LOCK_SECONDS: Final = 0.5  # between two looks at what another process has fetched
TIDY_SECONDS: Final = 0.1  # to find out whether somebody fetches what is left over
LONGEST_PAUSE_SECONDS: Final = 60.0
DAMAGED_TIMES: Final = 2  # that a file may come damaged


def require_room(repository: Repository, files: Sequence[RemoteFile]) -> None:
    """Refuse what the disk has no room for, before the first byte.

    Raises:
        CheckpointError: says what is missing, and where.
        OSError: the cache cannot be written.
    """
    blobs = repository.folder / "blobs"
    needed = sum(max(0, file.size_bytes - _size(_place(blobs, file))) for file in files)
    if needed == 0:
        return
    blobs.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(blobs).free
    if needed > free:
        raise CheckpointError(
            f"{repository.hub_id} needs {needed / 1e9:.1f} GB on the disk of {constants.HF_HUB_CACHE}, where "
            f"{free / 1e9:.1f} GB are free: make room, or set HF_HOME to a folder on a larger one"
        )


def _place(blobs: Path, file: RemoteFile) -> Path:
    blob = blobs / file.etag
    return blob if blob.exists() else _partial(blob)


def _partial(blob: Path) -> Path:
    return blob.with_name(f"{blob.name}.incomplete")


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def forget_leftovers(repository: Repository) -> None:
    """Remove what was begun of other states of the repository and nobody fetches now: no later download would use it."""
    for partial in (repository.folder / "blobs").glob("*.incomplete"):
        lock = repository.locks / f"{partial.name.removesuffix('.incomplete')}.lock"
        try:
            with WeakFileLock(lock, timeout=TIDY_SECONDS):
                partial.unlink(missing_ok=True)
        except (TimeoutError, OSError):  # another process is at it, or the cache is not ours to tidy
            continue


class Download:
    """Files of one commit on their way.

    Args:
        repository: Where they are from.
        commit: Of which state of it.
        files: Which.
        tell: Hears how far they are.
    """

    def __init__(
        self, repository: Repository, commit: str, files: Sequence[RemoteFile], tell: OnFetched
    ) -> None:
        self._repository = repository
        self._commit = commit
        self._files = files
        self._progress = Progress(sum(file.size_bytes for file in files), tell)
        self._stopped = threading.Event()

    def run(self) -> None:
        """Some files at a time, until all are there or one cannot be had.

        Raises:
            CheckpointError: a file came damaged.
            HfHubHTTPError, httpx2.TransportError, IncompleteError: the hub refused, or breaks off again and again.
            OSError: the cache cannot be written.
        """
        pool = ThreadPoolExecutor(FILES_AT_A_TIME, "lithophone-fetching")
        try:
            for one in [pool.submit(self._fetch, file) for file in self._files]:
                one.result()
        finally:
            self._stopped.set()  # one failed, or somebody typed Ctrl-C: what the others do is of no use now
            pool.shutdown(wait=False, cancel_futures=True)

    def _fetch(self, file: RemoteFile) -> None:
        """One file, once it is our turn."""
        blob = self._repository.folder / "blobs" / file.etag
        self._repository.locks.mkdir(parents=True, exist_ok=True)
        while not self._stopped.is_set():
            if blob.exists() and _size(blob) == file.size_bytes:
                self._progress.at(file.name, file.size_bytes)
                return
            try:
                with WeakFileLock(self._repository.locks / f"{file.etag}.lock", timeout=LOCK_SECONDS):
                    self._write_whole(file, blob)
            except TimeoutError:  # another process fetches it
                self._progress.at(file.name, _size(_partial(blob)))

    def _write_whole(self, file: RemoteFile, blob: Path) -> None:
        """Under the lock: until the file is there and is what it should be."""
        if blob.exists() and _size(blob) == file.size_bytes:
            return
        partial = _partial(blob)
        for _ in range(DAMAGED_TIMES):
            self._write_persistently(file, partial)
            if self._stopped.is_set():
                return
            if is_whole(partial, file.etag):
                partial.replace(blob)
                return
            partial.unlink()
            log.warning("damaged_on_the_way", model=self._repository.hub_id, file=file.name)
        raise CheckpointError(
            f"{self._repository.hub_id} cannot be downloaded: {file.name} came damaged {DAMAGED_TIMES} times (its hash is "
            f"not {file.etag}): something between here and the hub changes it"
        )

    def _write_persistently(self, file: RemoteFile, partial: Path) -> None:
        """Again from where it broke off, until nothing has come for as many tries as there are pauses."""
        vain = 0
        while not self._stopped.is_set():
            before = _size(partial)
            try:
                self._append(file, partial)
            except Exception as error:
                vain = 1 if _size(partial) > before else vain + 1
                if not is_transient(error) or vain > len(PAUSES_SECONDS):
                    raise
                why = str(error).strip() or type(error).__name__
                log.warning("download_broke_off", file=file.name, reason=why.splitlines()[0])
                pause = max(PAUSES_SECONDS[vain - 1], retry_after_seconds(error))
                self._stopped.wait(min(pause, LONGEST_PAUSE_SECONDS))
            else:
                return

    def _append(self, file: RemoteFile, partial: Path) -> None:
        """What is missing of a file, behind what is there of it."""
        with partial.open("ab") as target:
            start = target.tell()
            if start > file.size_bytes:  # of something else
                target.truncate(0)
                start = 0
            if start == file.size_bytes:
                return
            self._progress.at(file.name, start)
            for place, chunk in read_bytes(self._repository, self._commit, file, start):
                if place < start:  # the hub begins anew
                    target.truncate(0)
                    start = 0
                target.write(chunk)
                target.flush()
                self._progress.at(file.name, place + len(chunk))
                if self._stopped.is_set():
                    return
