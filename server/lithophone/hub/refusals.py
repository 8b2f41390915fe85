"""What becomes of the errors on the way to the weights: one line that says what to do."""

from __future__ import annotations

import errno
from collections.abc import Generator
from contextlib import contextmanager
from http import HTTPStatus

import httpx2
from huggingface_hub import constants
from huggingface_hub.errors import (
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from lithophone.errors import CheckpointError
from lithophone.hub.cache import Repository
from lithophone.hub.remote import IncompleteError

UNREACHABLE = (httpx2.TransportError, TimeoutError, OfflineModeIsEnabled, IncompleteError, HfHubHTTPError)
"""What keeps the hub from answering; some of it may pass."""

_ASK_FOR_ACCESS = (
    "set HF_TOKEN to a token of an account that may read it (https://huggingface.co/settings/tokens)"
)


@contextmanager
def refuse_unfetchable(repository: Repository) -> Generator[None]:
    """Errors of the network, the hub and the disk as refusals.

    Raises:
        CheckpointError: says what is wrong and what to do.
    """
    try:
        yield
    except CheckpointError:
        raise
    except (*UNREACHABLE, HFValidationError, OSError) as error:
        raise CheckpointError(
            f"{repository.hub_id} cannot be downloaded: {reason(repository, error)}"
        ) from error


def reason(repository: Repository, error: Exception) -> str:
    """Why a model cannot be had, and what to do about it."""
    match error:
        case HFValidationError():
            return "that is no id of a model on the hub; it is written as OWNER/NAME"
        case OfflineModeIsEnabled():
            return "HF_HUB_OFFLINE is set and the cache does not have all of it: unset it, or copy the cache from elsewhere"
        case HfHubHTTPError():
            return _refused(repository, error)
        case httpx2.TransportError() | TimeoutError() | IncompleteError():
            words = str(error) or type(error).__name__
            return (
                f"{constants.ENDPOINT} cannot be reached ({words}): check the connection, proxy and HF_ENDPOINT and "
                "start again; what has come is kept"
            )
        case OSError():
            return _unwritable(error)
        case _:
            return str(error)


def _refused(repository: Repository, error: HfHubHTTPError) -> str:
    where = f"{constants.ENDPOINT}/{repository.hub_id}"
    match error:
        case GatedRepoError():
            return f"it is gated: accept its terms at {where} and {_ASK_FOR_ACCESS}"
        case DisabledRepoError():
            return f"the hub has disabled it, see {where}"
        case RevisionNotFoundError():
            return f"it has no revision {repository.revision!r}, see {where}/tree/main"
        case RepositoryNotFoundError():
            return f"the hub has no such model, or it is private: check the name, or {_ASK_FOR_ACCESS}"
        case _:
            return _failed(error, where)


def _failed(error: HfHubHTTPError, where: str) -> str:
    status = error.response.status_code
    if status in {401, 403}:
        return (
            f"the hub refuses ({status}): check the name, accept the model's terms at {where} if it has any, and "
            f"{_ASK_FOR_ACCESS}"
        )
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return f"the hub has had too many requests from here (429): wait some minutes, or {_ASK_FOR_ACCESS}"
    if status == HTTPStatus.NOT_FOUND:
        return f"the hub does not have {error.request.url.path} (404)"
    return f"the hub fails ({status}): start again later; what has come is kept"


def _unwritable(error: OSError) -> str:
    cache = constants.HF_HUB_CACHE
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"the disk of {cache} is full: make room, or set HF_HOME to a folder on a larger one"
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return f"{error.filename or cache} cannot be written: set HF_HOME to a folder of yours"
    return f"{error.strerror or error} ({error.filename or cache})"
