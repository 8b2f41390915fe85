"""Where a model comes from: a folder, a member of the family, or a hub id.

Owns finding (and, when asked for, downloading) the checkpoint's files and saying which member of the family it is.
Only safetensors, configurations and tokenizers are ever fetched; code in a repository is never run.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import msgspec
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from lithophone.backends.transformers_backend.configuration import CtcConfig
from lithophone.backends.transformers_backend.folder import ADAPTER_CONFIG, CONFIG, is_there, read_config
from lithophone.errors import CheckpointError
from lithophone.granite.family import (
    DEMONSTRATION_ID,
    FAMILY,
    CheckpointTraits,
    ModelSpec,
    find_spec,
    identify,
)

DOWNLOADED_FILES = ("*.safetensors", "*.safetensors.index.json", "*.json", "*.jinja", "*.txt", "*.model")
CONFIG_FILES = (CONFIG, ADAPTER_CONFIG)


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint that can be loaded: its files and what it is. `model_id` is the name it is served under."""

    path: Path
    spec: ModelSpec
    model_id: str


class ModelReference(msgspec.Struct, frozen=True, kw_only=True):
    """What the user named. `path` is a folder on this machine; without one the files are fetched from `hub_id`."""

    model_id: str
    spec: ModelSpec
    path: Path | None = None
    hub_id: str | None = None


def embedded_checkpoint(spec: ModelSpec = FAMILY[DEMONSTRATION_ID]) -> Path:
    """The folder of a demonstration model inside the package.

    Raises:
        CheckpointError: the model is not in the package.
    """
    if spec.embedded is None:
        raise CheckpointError(f"{spec.id} does not come with Lithophone")
    return Path(str(files("lithophone"))) / "checkpoints" / spec.embedded


def read_reference(name: str) -> ModelReference:
    """Understand a model name: an embedded model, a folder, a family member, or any hub id.

    Only the last needs the network, for its configuration.

    Raises:
        CheckpointError: it is none of these, or not a Granite Speech checkpoint.
    """
    spec = FAMILY.get(name)
    if spec is not None and spec.demonstration:
        return ModelReference(model_id=name, spec=spec, path=embedded_checkpoint(spec))
    folder = _folder(name)
    if folder is not None:
        spec = identify(folder.resolve().name, read_traits(folder))
        return ModelReference(model_id=spec.id, spec=spec, path=folder)
    spec = find_spec(name)
    if spec is not None:
        return ModelReference(model_id=spec.id, spec=spec, hub_id=spec.hub_id)
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        spec = identify(name, read_traits(_download(name, CONFIG_FILES)))
        return ModelReference(model_id=name.rsplit("/", 1)[-1], spec=spec, hub_id=name)
    raise CheckpointError(
        f"{name!r} is neither a folder, nor a model of the Granite Speech family, nor a hub id"
    )


def _folder(name: str) -> Path | None:
    try:
        folder = Path(name).expanduser()
        return folder if folder.is_dir() else None
    except (OSError, RuntimeError) as error:  # not allowed to look, or the home of an unknown user
        raise CheckpointError(f"{name} cannot be read: {error}") from error


def fetch(reference: ModelReference) -> Checkpoint:
    """The checkpoint's files on disk; downloads into the hub's cache what is not there yet.

    Raises:
        CheckpointError: the files cannot be had.
    """
    path = reference.path if reference.path is not None else _download(reference.hub_id or reference.model_id)
    return Checkpoint(path=path, spec=reference.spec, model_id=reference.model_id)


def fetch_config(reference: ModelReference) -> Path:
    """The folder with at least `config.json`, so that its size can be judged before any weights are fetched.

    Raises:
        CheckpointError: the file cannot be had.
    """
    if reference.path is not None:
        return reference.path
    return _download(reference.hub_id or reference.model_id, CONFIG_FILES)


def read_traits(folder: Path) -> CheckpointTraits:
    """What `config.json` says of the model's kind.

    Raises:
        CheckpointError: there is no such file, or it is not a usable model configuration.
    """
    config = read_config(folder)
    if isinstance(config, CtcConfig):
        return CheckpointTraits(model_type=config.model_type)
    adapted = config.has_lora_adapter
    return CheckpointTraits(
        model_type=config.model_type,
        has_lora_adapter=is_there(folder / ADAPTER_CONFIG) if adapted is None else adapted,
        text_hidden_size=config.text_config.hidden_size,
    )


def _download(hub_id: str, patterns: tuple[str, ...] = DOWNLOADED_FILES) -> Path:
    try:
        return Path(snapshot_download(hub_id, allow_patterns=list(patterns)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{hub_id} is not in the cache and cannot be downloaded: {reason}") from error
