"""The hub itself: which files a revision has, and their bytes.

Owns the requests and how long they may take. They go through huggingface_hub's session, so that `HF_ENDPOINT`, `HF_TOKEN`,
`HF_HUB_OFFLINE` and proxies mean what they mean everywhere. Its own download begins anew when a process is ended in the
middle, and writes under a name that the next one does not know; `read_bytes` begins where a file ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from threading import Thread
from typing import Any, Final, TypeVar

import httpx2
import msgspec
from huggingface_hub import HfApi, constants, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import (
    build_hf_headers,  # pyright: ignore[reportUnknownVariableType] - typed by half
    get_session,
    hf_raise_for_status,
)

from lithophone.hub.cache import Repository

ANSWER_SECONDS: Final = 10.0
"""How long the hub may take to say which files there are, all tries together."""

SILENCE_SECONDS: Final = 10.0
"""How long the bytes of a file may stand still before they are asked for again."""

TRANSIENT_STATUSES: Final = frozenset({408, 429, 500, 502, 503, 504})
PAUSES_SECONDS: Final = (0.5, 1.0, 2.0, 4.0)
"""Before the next try, by how many were in vain."""

_Answer = TypeVar("_Answer")


class RemoteFile(msgspec.Struct, frozen=True):
    """A file on the hub. `etag` is its SHA-256, or for a small one git's SHA-1: the name of its blob in the cache."""

    name: str
    size_bytes: int
    etag: str


class Listing(msgspec.Struct, frozen=True):
    """The files of a commit by name."""

    commit: str
    files: dict[str, RemoteFile]


class IncompleteError(Exception):
    """The hub ended a file before its end."""


def list_files(repository: Repository) -> Listing:
    """Ask the hub for the commit of a revision and its files.

    Raises:
        HfHubHTTPError, httpx2.TransportError: it refused, or could not be reached.
        TimeoutError: it did not answer in time.
    """
    info = _within(ANSWER_SECONDS, lambda: _persistently(lambda: _info(repository)))
    files = (
        RemoteFile(
            name=one.rfilename,
            size_bytes=one.size or 0,
            etag=one.lfs.sha256 if one.lfs is not None else one.blob_id or "",
        )
        for one in info.siblings or ()
    )
    return Listing(commit=info.sha or "", files={file.name: file for file in files if "/" not in file.name})


def _info(repository: Repository) -> Any:
    return HfApi(endpoint=constants.ENDPOINT).model_info(
        repository.hub_id, revision=repository.revision, files_metadata=True, timeout=ANSWER_SECONDS
    )


def _within(seconds: float, ask: Callable[[], _Answer]) -> _Answer:
    """The answer, if it comes in time; a name that is looked up, or a host with many addresses, knows no limit itself.

    Raises:
        TimeoutError: it did not.
    """
    answers: list[_Answer] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            answers.append(ask())
        except Exception as error:  # noqa: BLE001 - raised in the thread that waits
            errors.append(error)

    thread = Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not answers:
        raise TimeoutError(f"no answer in {seconds:.0f} s")
    return answers[0]


def _persistently(ask: Callable[[], _Answer]) -> _Answer:
    """Once more where the hub says that it is busy, as long as there is time."""
    deadline = time.monotonic() + ANSWER_SECONDS - 1.0
    for pause in PAUSES_SECONDS:
        try:
            return ask()
        except HfHubHTTPError as error:
            pause_seconds = max(pause, retry_after_seconds(error))
            if not is_transient(error) or time.monotonic() + pause_seconds > deadline:
                raise
        time.sleep(pause_seconds)
    return ask()


def retry_after_seconds(error: Exception) -> float:
    """What the hub asks for; 0 where it says nothing."""
    said = error.response.headers.get("Retry-After", "") if isinstance(error, HfHubHTTPError) else ""
    return float(said) if said.isdecimal() else 0.0


def is_transient(error: Exception) -> bool:
    """Whether asking again may help."""
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in TRANSIENT_STATUSES
    return isinstance(error, httpx2.TransportError | IncompleteError)


def read_bytes(
    repository: Repository, commit: str, file: RemoteFile, start: int
) -> Iterator[tuple[int, bytes]]:
    """The bytes of a file from `start` on, each chunk with its place; from 0 on where the hub knows no other way.

    Raises:
        HfHubHTTPError, httpx2.TransportError: the hub refused, or broke off.
        IncompleteError: it ended the file too early.
    """
    url = hf_hub_url(repository.hub_id, file.name, revision=commit, endpoint=constants.ENDPOINT)
    headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    with get_session().stream("GET", url, headers=headers, timeout=SILENCE_SECONDS) as response:
        hf_raise_for_status(response)
        place = start if response.status_code == HTTPStatus.PARTIAL_CONTENT else 0
        for chunk in response.iter_bytes():
            yield place, chunk
            place += len(chunk)
    if place < file.size_bytes:
        raise IncompleteError(f"{file.name} ended at {place} of {file.size_bytes} bytes")
