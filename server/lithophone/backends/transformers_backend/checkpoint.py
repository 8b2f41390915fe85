"""Where a model comes from: a folder, a member of the family, or a hub id.

Owns finding (and, when asked for, downloading) the checkpoint's files and saying which member of the family it is.
Only safetensors, configurations and tokenizers are ever fetched; code in a repository is never run.
"""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

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
CONFIG_FILES = ("config.json", "adapter_config.json")


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
    folder = Path(name).expanduser()
    if folder.is_dir():
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
        CheckpointError: there is no such file, or it is not a model configuration.
    """
    config = _read_config(folder / "config.json")
    model_type = config.get("model_type")
    if not isinstance(model_type, str):
        raise CheckpointError(f"{folder / 'config.json'} names no model_type")
    text_config = config.get("text_config") or {}
    return CheckpointTraits(
        model_type=model_type,
        has_lora_adapter=bool(config.get("has_lora_adapter", False)),
        text_hidden_size=text_config.get("hidden_size"),
    )


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path.parent} holds no config.json: it is not a model checkpoint") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path} is not a model configuration")
    return config


def _download(hub_id: str, patterns: tuple[str, ...] = DOWNLOADED_FILES) -> Path:
    try:
        return Path(snapshot_download(hub_id, allow_patterns=list(patterns)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{hub_id} is not in the cache and cannot be downloaded: {reason}") from error
