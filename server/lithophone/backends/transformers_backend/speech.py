"""Backend for the models with a language model: 3.3, 4.0, 4.1, 4.1 plus and the embedded one.

Owns the batch: windows of any lengths, from one request or many, run together, join between any two steps of the
language model and leave when they are done. The text of one never depends on its neighbours.
"""

from __future__ import annotations

import gc
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np
import torch

from lithophone.backends.base import BackendInfo, Recognition, RecognitionRequest
from lithophone.backends.batches import run_to_end
from lithophone.backends.decoding.loop import DecodingBatch, Prompt
from lithophone.backends.device import DevicePlan, TorchFacts
from lithophone.backends.heap import return_freed_pages
from lithophone.backends.memory import budget_bytes, estimate_memory
from lithophone.backends.transformers_backend.checkpoint import Checkpoint
from lithophone.backends.transformers_backend.speech_model import HeardWindow, SpeechModel
from lithophone.granite.features import SAMPLE_RATE

WARM_UP_SECONDS = 2.0
MOST_WINDOWS = 16
SAMPLES_PER_STEP = 120 * SAMPLE_RATE  # more in one encoder pass is no faster and takes more memory


class SpeechBackend:
    """A loaded Granite Speech model.

    Args:
        checkpoint: What to load.
        plan: Where and in which dtype.
        facts: What the machine has free, for the number of windows at a time.
        speculate: Whether transcripts are drafted by the CTC head; off, decoding goes token by token.
    """

    def __init__(
        self, checkpoint: Checkpoint, plan: DevicePlan, facts: TorchFacts, *, speculate: bool = True
    ) -> None:
        self._model = SpeechModel.load(checkpoint, plan, facts, speculate=speculate)
        self._info = BackendInfo(
            spec=checkpoint.spec,
            model_id=checkpoint.model_id,
            device=plan.kind,
            dtype=plan.dtype,
            weight_bytes=self._model.weight_bytes,
            max_batch=_most_windows(self._model.config, plan, facts),
        )

    @property
    def info(self) -> BackendInfo:
        """What is loaded."""
        return self._info

    def start_batch(self) -> SpeechBatch:
        """An empty batch; see `SteppingBackend`."""
        return SpeechBatch(self._model)

    def recognise(
        self, requests: Sequence[RecognitionRequest], interrupted: Callable[[], bool]
    ) -> list[Recognition]:
        """All windows in one batch; see `Backend`."""
        return run_to_end(self.start_batch(), requests, interrupted)

    def warm_up(self) -> None:
        """Noise through encoder, projector, prompt and decoding, and the clock on the language model."""
        noise = np.random.default_rng(0).normal(0.0, 0.05, int(WARM_UP_SECONDS * SAMPLE_RATE))
        self.recognise([RecognitionRequest(samples=noise.astype(np.float32))], lambda: False)
        self._model.measure()

    def close(self) -> None:
        """Drop the model and give the memory back to the system."""
        del self._model
        release_memory()


class SpeechBatch:
    """Windows under way; see `Batch`.

    A window whose tokens rounding could decide (`lithophone.backends.decoding.loop`) is done once more, alone and token
    by token, beside the others.

    Args:
        model: What hears and decodes.
        revise: Called with each window's key and sequence before it is decoded; a measurement gives it other drafts or
            limits here.
        settle_ties: See `DecodingBatch`.
    """

    def __init__(
        self,
        model: SpeechModel,
        *,
        revise: Callable[[int, Prompt], Prompt] | None = None,
        settle_ties: bool = True,
    ) -> None:
        self._model = model
        self._revise = revise
        self._together = model.start_decoding(settle_ties=settle_ties)
        self._alone = model.start_decoding(settle_ties=False)
        self._waiting: OrderedDict[int, RecognitionRequest] = OrderedDict()
        self._contested: OrderedDict[int, RecognitionRequest] = OrderedDict()
        self._under_way: dict[int, tuple[RecognitionRequest, HeardWindow]] = {}

    def __len__(self) -> int:
        return len(self._waiting) + len(self._contested) + len(self._under_way)

    def admit(self, key: int, request: RecognitionRequest) -> None:
        """See `Batch`."""
        self._waiting[key] = request

    def drop(self, key: int) -> None:
        """See `Batch`."""
        self._waiting.pop(key, None)
        self._contested.pop(key, None)
        if self._under_way.pop(key, None) is not None:
            self._together.drop(key)
            self._alone.drop(key)

    @property
    def decoding(self) -> tuple[DecodingBatch, DecodingBatch]:
        """The loop over all windows and the one over those that are done once more, for their counters."""
        return self._together, self._alone

    @torch.inference_mode()
    def step(self) -> list[tuple[int, Recognition]]:
        """Hear some of the windows that wait, then one pass of the language model over all that were heard."""
        self._hear_waiting()
        self._hear_contested()
        done: list[tuple[int, Recognition]] = []
        for decoded in (*self._together.step(), *self._alone.step()):
            request, window = self._under_way.pop(decoded.key)
            if decoded.contested:
                self._contested[decoded.key] = request
            else:
                done.append((decoded.key, self._model.recognition(request, window, decoded)))
        return done

    def _hear_waiting(self) -> None:
        """As many as fit into one encoder pass, and at least one."""
        joining: dict[int, RecognitionRequest] = {}
        samples = 0
        while self._waiting:
            samples += len(next(iter(self._waiting.values())).samples)
            if joining and samples > SAMPLES_PER_STEP:
                break
            key, request = self._waiting.popitem(last=False)
            joining[key] = request
        heard = self._model.hear(list(joining.values()))
        for (key, request), window in zip(joining.items(), heard, strict=True):
            self._under_way[key] = (request, window)
            self._together.admit([self._sequence(key, request, window, speculate=True)])

    def _hear_contested(self) -> None:
        """One at a time: alone means alone, in the encoder too."""
        if self._contested and len(self._alone) == 0:
            key, request = self._contested.popitem(last=False)
            (window,) = self._model.hear([request])
            self._under_way[key] = (request, window)
            self._alone.admit([self._sequence(key, request, window, speculate=False)])

    def _sequence(
        self, key: int, request: RecognitionRequest, window: HeardWindow, *, speculate: bool
    ) -> Prompt:
        prompt = self._model.sequence(key, request, window, speculate=speculate)
        if self._revise is None:
            return prompt
        revised = self._revise(key, prompt)
        return revised if speculate else msgspec.structs.replace(revised, speculator=None)


def _most_windows(config: Any, plan: DevicePlan, facts: TorchFacts) -> int:
    """Windows at a time: as many as half of the memory beside the model holds, at most `MOST_WINDOWS`."""
    one = estimate_memory(config, plan.dtype)
    spare = budget_bytes(facts, plan) - one.required_bytes
    return max(1, min(MOST_WINDOWS, 1 + spare // 2 // (one.activations_bytes + one.kv_cache_bytes)))


def release_memory() -> None:
    """Collect what is unreachable and hand cached blocks back to the driver and the system."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return_freed_pages()
