"""Where a model comes from: a folder, a member of the family, or a hub id.

Owns saying where the checkpoint's files are and which member of the family it is; `lithophone.hub` fetches them.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Final

import msgspec

from lithophone.backends.transformers_backend.configuration import CtcConfig
from lithophone.backends.transformers_backend.folder import (
    is_there,
    read_chat_template,
    read_config,
    read_saved_with,
)
from lithophone.errors import CheckpointError
from lithophone.granite.family import (
    DEMONSTRATION_ID,
    FAMILY,
    CheckpointTraits,
    ModelSpec,
    find_spec,
    identify,
)
from lithophone.hub import fetching
from lithophone.hub.cache import DEFAULT_REVISION, Repository
from lithophone.hub.layout import ADAPTER_CONFIG, BPE_HEAD
from lithophone.hub.progress import OnFetched, ignore

CONTROL_TOKEN: Final = "<|start_of_role|>"  # noqa: S105 - of the chat templates of 3.3 and plus, no secret


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint that can be loaded: its files and what it is. `model_id` is the name it is served under.

    `revision` is the commit that the files are of, where they are from the hub.
    """

    path: Path
    spec: ModelSpec
    model_id: str
    revision: str | None = None


class ModelReference(msgspec.Struct, frozen=True, kw_only=True):
    """What the user named. `path` is a folder on this machine; without one the files are fetched from `hub_id`.

    `revision` is a branch, tag or commit there.
    """

    model_id: str
    spec: ModelSpec
    path: Path | None = None
    hub_id: str | None = None
    revision: str = DEFAULT_REVISION

    @property
    def repository(self) -> Repository:
        """Where on the hub it is.

        Raises:
            CheckpointError: it is on this machine alone.
        """
        if self.path is not None:
            raise CheckpointError(f"{self.path} is a folder on this machine, not a model on the hub")
        return Repository(self.hub_id or self.model_id, self.revision)


def embedded_checkpoint(spec: ModelSpec = FAMILY[DEMONSTRATION_ID]) -> Path:
    """The folder of a demonstration model inside the package.

    Raises:
        CheckpointError: the model is not in the package.
    """
    if spec.embedded is None:
        raise CheckpointError(f"{spec.id} does not come with Lithophone")
    return Path(str(files("lithophone"))) / "checkpoints" / spec.embedded


def read_reference(name: str, revision: str = DEFAULT_REVISION) -> ModelReference:
    """Understand a model name: an embedded model, a folder, a family member, or any hub id.

    Only the last needs the network, for its configuration, and that only once.

    Args:
        name: What the user wrote.
        revision: Which state of a model on the hub.

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
        return ModelReference(model_id=spec.id, spec=spec, hub_id=spec.hub_id, revision=revision)
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        snapshot = fetching.fetch_config(Repository(name, revision))
        spec = identify(name, read_traits(snapshot.path))
        return ModelReference(model_id=name.rsplit("/", 1)[-1], spec=spec, hub_id=name, revision=revision)
    raise CheckpointError(
        f"{name!r} is neither a folder, nor a model of the Granite Speech family, nor a hub id"
    )


def _folder(name: str) -> Path | None:
    try:
        folder = Path(name).expanduser()
        return folder if folder.is_dir() else None
    except (OSError, RuntimeError) as error:  # not allowed to look, or the home of an unknown user
        raise CheckpointError(f"{name} cannot be read: {error}") from error


def fetch(reference: ModelReference, tell: OnFetched = ignore) -> Checkpoint:
    """The checkpoint's files on disk; downloads into the hub's cache what is not there yet, and tells how far it is.

    Raises:
        CheckpointError: the files cannot be had.
    """
    spec, model_id = reference.spec, reference.model_id
    if reference.path is not None:
        return Checkpoint(path=reference.path, spec=spec, model_id=model_id)
    snapshot = fetching.fetch_model(reference.repository, tell)
    return Checkpoint(path=snapshot.path, spec=spec, model_id=model_id, revision=snapshot.commit)


def fetch_config(reference: ModelReference) -> Path:
    """The folder with at least `config.json`, so that its size can be judged before any weights are fetched.

    Raises:
        CheckpointError: the file cannot be had.
    """
    if reference.path is not None:
        return reference.path
    return fetching.fetch_config(reference.repository).path


def read_traits(folder: Path) -> CheckpointTraits:
    """What a folder holds that tells which member it is: its configuration, its chat template, what lies beside the weights.

    Raises:
        CheckpointError: there is no `config.json`, or it is not a usable model configuration.
    """
    config = read_config(folder)
    saved_with = read_saved_with(folder)
    if isinstance(config, CtcConfig):
        return CheckpointTraits(
            model_type=config.model_type,
            vocabulary=config.vocab_size,
            width=config.encoder_config.hidden_size,
            saved_with=saved_with,
        )
    adapted, template = config.has_lora_adapter, read_chat_template(folder)
    return CheckpointTraits(
        model_type=config.model_type,
        labels=config.encoder_config.output_dim,
        vocabulary=config.text_config.vocab_size,
        width=config.text_config.hidden_size,
        control_tokens=None if template is None else CONTROL_TOKEN in template,
        has_lora_adapter=is_there(folder / ADAPTER_CONFIG) if adapted is None else adapted,
        saved_with=saved_with,
        bpe_head=True if is_there(folder / BPE_HEAD) else None,
    )
