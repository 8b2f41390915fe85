"""What a loaded model is tried with before it is called ready."""

from __future__ import annotations

from typing import Final

import numpy as np

from lithophone.audio.waveform import samples_from_seconds
from lithophone.backends.base import Batch, NotFiniteError, RecognitionRequest
from lithophone.backends.batches import run_to_end
from lithophone.backends.transformers_backend.refusals import refuse_unusable
from lithophone.errors import CheckpointError

WARM_UP_SECONDS: Final = 1.0


def try_out(batch: Batch, model_id: str) -> None:
    """Noise through every path of a model, by an empty batch of it.

    Raises:
        CheckpointError: what comes out are no numbers, or nothing comes out.
        DoesNotFitError: memory ran out.
    """
    noise = np.random.default_rng(0).normal(0.0, 0.05, samples_from_seconds(WARM_UP_SECONDS))
    with refuse_unusable(model_id):
        try:
            run_to_end(batch, [RecognitionRequest(samples=noise.astype(np.float32))])
        except NotFiniteError as error:
            raise CheckpointError(str(error)) from error
