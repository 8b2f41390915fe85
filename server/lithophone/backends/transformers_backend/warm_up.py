"""What a loaded model is tried with before it is called ready."""

from __future__ import annotations

from typing import Final

import numpy as np

from lithophone.audio.waveform import samples_from_seconds
from lithophone.backends.base import Batch, NotFiniteError, RecognitionRequest
from lithophone.backends.batches import run_to_end
from lithophone.errors import CheckpointError

WARM_UP_SECONDS: Final = 2.0


def try_out(batch: Batch, dtype: str) -> None:
    """Noise through every path of a model, by an empty batch of it.

    Raises:
        CheckpointError: what comes out are no numbers.
    """
    noise = np.random.default_rng(0).normal(0.0, 0.05, samples_from_seconds(WARM_UP_SECONDS))
    try:
        run_to_end(batch, [RecognitionRequest(samples=noise.astype(np.float32))])
    except NotFiniteError as error:
        raise CheckpointError(f"{error}: {remedy(dtype)}") from error


def remedy(dtype: str) -> str:
    """What to do about numbers that are not finite."""
    if dtype == "float32":
        return "the checkpoint is damaged"
    return f"{dtype} may not suffice for it (try --dtype float32), or the checkpoint is damaged"
