"""A folder with the quantised weights of a model, and all that is read beside them."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec

from lithophone.backends.device.apply import apply_plan
from lithophone.backends.device.facts import read_torch_facts
from lithophone.backends.device.plan import DeviceWishes
from lithophone.backends.device.runtime import TorchRuntime
from lithophone.backends.memory.estimate import estimate_memory
from lithophone.backends.memory.fits import plan_for
from lithophone.backends.quantization.stored import write_small
from lithophone.backends.transformers_backend.checkpoint import Checkpoint
from lithophone.backends.transformers_backend.loading import load_checkpoint
from lithophone.errors import CheckpointError
from lithophone.hub.layout import ADAPTER_CONFIG, SMALL_FILES


def keep(checkpoint: Checkpoint, wishes: DeviceWishes, folder: Path) -> Path:
    """Load a checkpoint quantised and write it; returns the folder, which is made.

    Raises:
        CheckpointError: it cannot be used, or the folder cannot be written.
        ConfigurationError: it cannot be quantised.
        DoesNotFitError: what comes of it does not fit into memory.
    """
    if folder.exists() and any(folder.iterdir()):
        raise CheckpointError(f"{folder} is there and not empty")
    wishes = msgspec.structs.replace(wishes, device="cpu")
    facts = read_torch_facts()
    estimates = estimate_memory(checkpoint.path, quantization=wishes.quantization)
    plan = plan_for(checkpoint.model_id, estimates, facts, wishes)
    apply_plan(plan)
    with TorchRuntime().thread():
        model = load_checkpoint(checkpoint, plan, facts).model
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _copy_small_files(checkpoint.path, folder)
            write_small(model, plan.quantization, checkpoint.model_id, folder)
        except OSError as error:
            raise CheckpointError(f"{folder} cannot be written: {error}") from error
    return folder


def _copy_small_files(source: Path, folder: Path) -> None:
    """All that is read beside the weights; an adapter is folded into them."""
    for name in SMALL_FILES:
        if (source / name).is_file() and name != ADAPTER_CONFIG:
            shutil.copyfile(source / name, folder / name)
