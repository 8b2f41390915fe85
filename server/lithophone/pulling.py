"""`lithophone pull`: one model into the cache, with its progress shown, and checked."""

from __future__ import annotations

from pathlib import Path

from lithophone.backends.device.plan import DeviceWishes
from lithophone.backends.transformers_backend.checkpoint import fetch, read_reference
from lithophone.downloads import DownloadDisplay
from lithophone.granite.family import ModelSpec
from lithophone.hub.cache import Snapshot
from lithophone.hub.fetching import fetch_anew, fetch_model


def pull(name: str, revision: str) -> str:
    """Fetch a model and check every file of it; returns a line that says what there is now.

    Raises:
        CheckpointError: it cannot be had.
    """
    reference = read_reference(name, revision)
    if reference.path is not None:
        return f"{reference.model_id}: {reference.path} is on this machine already"
    repository = reference.repository
    with DownloadDisplay(reference.model_id) as display:
        snapshot = fetch_model(repository, display.show, newest=True)
        if fetch_anew(repository, snapshot):
            snapshot = fetch_model(repository, display.show)
    return _line(reference.model_id, reference.spec, snapshot)


def keep_small(name: str, revision: str, wishes: DeviceWishes, folder: Path) -> str:
    """Write a folder with a model's quantised weights; returns a line that says so.

    Raises:
        CheckpointError: the model cannot be had, or the folder is there and not empty.
        ConfigurationError: it cannot be quantised.
        DoesNotFitError: what comes of it does not fit into memory.
    """
    from lithophone.backends.quantization.keeping import keep  # noqa: PLC0415 - torch takes seconds to import

    reference = read_reference(name, revision)
    written = keep(fetch(reference), wishes, folder)
    return f"{reference.model_id}: {wishes.quantization}, {folder_bytes(written) / 1e9:.2f} GB, serve it with --model {written}"


def _line(model_id: str, spec: ModelSpec, snapshot: Snapshot) -> str:
    return (
        f"{model_id}: {folder_bytes(snapshot.path) / 1e9:.2f} GB, checked, revision {snapshot.commit}, {spec.license}, "
        f"{snapshot.path}"
    )


def folder_bytes(folder: Path) -> int:
    """Of the files that the links of a snapshot lead to."""
    return sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
