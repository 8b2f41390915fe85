"""The small file that says a folder holds quantised weights.

Owns its form, and what follows from it for what was wished for. Knows no torch, so that it can be asked first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from lithophone.backends.device.plan import DeviceWishes, Quantization
from lithophone.errors import CheckpointError, ConfigurationError

MANIFEST: Final = "lithophone.json"
MANIFEST_BYTES: Final = 1 << 20


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the weights of a folder are rounded, the files they are in, and which model they are of."""

    quantization: Quantization
    files: Annotated[tuple[str, ...], Meta(min_length=1)]
    source: str


def read_manifest(folder: Path) -> Manifest | None:
    """None: the folder holds no quantised weights.

    Raises:
        CheckpointError: it does, and the file that says so is damaged, or one that it names is not there.
    """
    file = folder / MANIFEST
    if not file.is_file():
        return None
    try:
        with file.open("rb") as opened:
            manifest = msgspec.json.decode(opened.read(MANIFEST_BYTES), type=Manifest)
    except (OSError, msgspec.MsgspecError) as error:
        raise CheckpointError(f"{file} cannot be used: {error}") from error
    for name in manifest.files:
        if Path(name).name != name or not (folder / name).is_file():
            raise CheckpointError(f"{folder} lacks a file that {MANIFEST} names")
    return manifest


def as_stored(folder: Path | None, wishes: DeviceWishes) -> DeviceWishes:
    """The wishes with the quantisation that a folder's weights have, if they have one.

    Raises:
        CheckpointError: see `read_manifest`.
        ConfigurationError: another one is wished for.
    """
    manifest = None if folder is None else read_manifest(folder)
    if manifest is None or manifest.quantization == wishes.quantization:
        return wishes
    if wishes.quantization != "none":
        raise ConfigurationError(
            f"{folder} holds {manifest.quantization} weights: leave --quantization {wishes.quantization} out"
        )
    return msgspec.structs.replace(wishes, quantization=manifest.quantization)
