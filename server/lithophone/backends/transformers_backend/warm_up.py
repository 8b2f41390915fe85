"""What a loaded model is tried with before it is called ready."""

from __future__ import annotations

import wave
from collections.abc import Sequence
from importlib.resources import files
from typing import Final

import numpy as np

from lithophone.audio.waveform import Waveform, samples_from_seconds, waveform_from_pcm16
from lithophone.backends.base import Backend, Batch, NotFiniteError, RecognitionRequest
from lithophone.backends.batches import never, run_to_end
from lithophone.backends.transformers_backend.refusals import refuse_unusable
from lithophone.errors import NotFiniteModelError

WARM_UP_SECONDS: Final = 1.0

SPEECH: Final = ("backends", "speech.wav")
"""A synthesised sentence of 3.6 s inside the package, 16 kHz, one channel."""


def try_out(batch: Batch, model_id: str) -> None:
    """Noise through every path of a model, by an empty batch of it.

    Raises:
        NotFiniteModelError: what comes out are no numbers.
        CheckpointError: nothing comes out.
        DoesNotFitError: memory ran out.
    """
    noise = np.random.default_rng(0).normal(0.0, 0.05, samples_from_seconds(WARM_UP_SECONDS))
    _hear(batch, model_id, [noise.astype(np.float32)])


def try_speech(backend: Backend) -> None:
    """Real speech through a model, as it was spoken and as loud as it can be: numbers that overflow do so on loud sounds.

    Raises:
        NotFiniteModelError: what comes out are no numbers.
        CheckpointError: nothing comes out.
        DoesNotFitError: memory ran out.
    """
    spoken = _speech()
    loudest = spoken / np.abs(spoken).max()
    _hear(backend.start_batch(never), backend.info.model_id, [spoken, loudest])


def _hear(batch: Batch, model_id: str, windows: Sequence[Waveform]) -> None:
    with refuse_unusable(model_id):
        try:
            run_to_end(batch, [RecognitionRequest(samples=samples) for samples in windows])
        except NotFiniteError as error:
            raise NotFiniteModelError(str(error)) from error


def _speech() -> Waveform:
    with files("lithophone").joinpath(*SPEECH).open("rb") as file, wave.open(file) as recording:
        return waveform_from_pcm16(recording.readframes(recording.getnframes()))
