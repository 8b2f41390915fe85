"""Backend for the models that are a CTC head alone: 5.0.

Owns the way from windows to labels through transformers' processor and CTC model: one pass, no language model, no prompt.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from lithophone.audio.waveform import SAMPLE_RATE
from lithophone.backends.answers.ctc import CtcAnswers, LabelledWindow
from lithophone.backends.base import Answer, BackendInfo, RecognitionRequest
from lithophone.backends.cpu.products import widened_products
from lithophone.backends.device.facts import TorchFacts
from lithophone.backends.device.plan import DevicePlan
from lithophone.backends.device.runtime import release_memory
from lithophone.backends.transformers_backend.checkpoint import Checkpoint
from lithophone.backends.transformers_backend.loading import load_checkpoint, weight_bytes
from lithophone.backends.transformers_backend.processors import concurrent_decoder
from lithophone.backends.transformers_backend.warm_up import try_out
from lithophone.granite.family import ModelSpec


class CtcBackend:
    """A loaded 5.0 model with its processor.

    Args:
        spec: Which member of the family it is.
        model_id: The name it is served under.
        model: The transformers model, as `load_checkpoint` gives it.
        processor: Its processor.
        plan: Where the model is.
    """

    def __init__(self, spec: ModelSpec, model_id: str, model: Any, processor: Any, plan: DevicePlan) -> None:
        self._model = model
        self._processor = processor
        self._device = plan.torch_device
        self._products = widened_products(model, model.dtype, wanted=plan.widened)
        blank = int(model.config.pad_token_id)
        self.answers = CtcAnswers(spec, plan.dtype, concurrent_decoder(processor.tokenizer), blank)
        self._info = BackendInfo(
            spec=spec,
            model_id=model_id,
            device=plan.kind,
            dtype=plan.dtype,
            weight_bytes=weight_bytes(model),
            max_batch=1,
        )

    @classmethod
    def load(cls, checkpoint: Checkpoint, plan: DevicePlan, facts: TorchFacts) -> CtcBackend:
        """From a checkpoint on disk.

        Raises:
            CheckpointError: it cannot be used.
        """
        loaded = load_checkpoint(checkpoint, plan, facts)
        return cls(checkpoint.spec, checkpoint.model_id, loaded.model, loaded.processor, plan)

    @property
    def info(self) -> BackendInfo:
        """What is loaded."""
        return self._info

    def start_batch(self, interrupted: Callable[[], bool]) -> CtcBatch:  # noqa: ARG002 - a step is one short pass
        """See `Backend`."""
        return CtcBatch(self)

    def warm_up(self) -> None:
        """Noise through the model."""
        try_out(CtcBatch(self), self._info.model_id)

    def close(self) -> None:
        """Drop model and processor and give the memory back to the system."""
        del self._model, self._processor
        release_memory()

    def label(self, request: RecognitionRequest) -> LabelledWindow:
        """One window through processor and model."""
        inputs = self._processor(audio=request.samples, sampling_rate=SAMPLE_RATE).to(self._device)
        features = inputs["input_features"].to(self._model.dtype)
        with self._products.during_pass(features.shape[1]):
            output = self._model.generate(
                input_features=features, attention_mask=inputs["attention_mask"], return_dict_in_generate=True
            )
        return LabelledWindow(
            samples=request.samples,
            labels=tuple(output.sequences[0].tolist()),
            log_probs=torch.log_softmax(output.logits[0].float(), dim=-1).cpu().numpy(),
            context_samples=request.context_samples,
        )


class CtcBatch:
    """Windows that wait for their pass; see `Batch`."""

    def __init__(self, backend: CtcBackend) -> None:
        self._backend = backend
        self._waiting: OrderedDict[int, RecognitionRequest] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def admit(self, key: int, request: RecognitionRequest) -> None:
        """See `Batch`."""
        self._waiting[key] = request

    def drop(self, key: int) -> None:
        """See `Batch`."""
        self._waiting.pop(key, None)

    def step(self) -> list[tuple[int, Answer]]:
        """The window that has waited longest, in one pass."""
        if not self._waiting:
            return []
        key, request = self._waiting.popitem(last=False)
        return [(key, partial(self._backend.answers.answer, self._backend.label(request)))]
