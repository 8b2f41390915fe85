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

WARM_UP_SECONDS: Final = (1.0,)
GPU_WARM_UP_SECONDS: Final = (30.0, 22.0, 16.0, 11.0, 7.0, 4.0, 2.0, 1.0)
"""Libraries load other kernels for other sizes when they are first needed, which takes longer than hearing the window."""

SPEECH: Final = ("backends", "speech.wav")
"""A synthesised sentence of 3.6 s inside the package, 16 kHz, one channel."""


def warm_up_lengths(device: str, longest_seconds: float) -> list[float]:
    """Seconds of the windows that a model is tried out with.

    Args:
        device: Where it is; on a CPU there is nothing to load.
        longest_seconds: What it hears at once.
    """
    lengths = WARM_UP_SECONDS if device == "cpu" else GPU_WARM_UP_SECONDS
    return [seconds for seconds in lengths if seconds <= longest_seconds]


def try_out(batch: Batch, model_id: str, lengths_seconds: Sequence[float] = WARM_UP_SECONDS) -> None:
    """Noise through every path of a model, one window after another.

    Args:
        batch: An empty one of the model.
        model_id: For errors.
        lengths_seconds: Of the windows.

    Raises:
        NotFiniteModelError: what comes out are no numbers.
        CheckpointError: nothing comes out.
        DoesNotFitError: memory ran out.
    """
    noise = np.random.default_rng(0).normal(0.0, 0.05, samples_from_seconds(max(lengths_seconds)))
    for length in lengths_seconds:
        _hear(batch, model_id, [noise[: samples_from_seconds(length)].astype(np.float32)])


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
