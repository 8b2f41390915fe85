"""Backend for the models that are a CTC head alone: 5.0.

Owns the way from windows to labels through transformers' CTC model: one pass, no language model, no prompt. Windows of about
the same length go through it together, padded; the model masks the padding, so that company changes no word.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import torch

from lithophone.audio.waveform import SAMPLE_RATE
from lithophone.backends.answers.ctc import CtcAnswers, LabelledWindow
from lithophone.backends.base import Answer, BackendInfo, HeardAnswer, Hearing, RecognitionRequest
from lithophone.backends.capacity import windows_at_a_time
from lithophone.backends.cpu.products import widened_products
from lithophone.backends.device.facts import TorchFacts
from lithophone.backends.device.plan import DevicePlan
from lithophone.backends.device.runtime import release_memory
from lithophone.backends.transformers_backend.checkpoint import Checkpoint
from lithophone.backends.transformers_backend.loading import load_checkpoint, weight_bytes
from lithophone.backends.transformers_backend.processors import concurrent_decoder
from lithophone.backends.transformers_backend.warm_up import try_out
from lithophone.granite.family import ModelSpec
from lithophone.granite.features import delta_frames, padded_log_mels_with_deltas

SAMPLES_PER_STEP: Final = 30 * SAMPLE_RATE
"""In one pass on a CPU, where more is no faster and holds up those that come; on a GPU, so much for each window."""

LEAST_FILLED: Final = 0.8


class CtcBackend:
    """A loaded 5.0 model with its processor.

    Args:
        spec: Which member of the family it is.
        model_id: The name it is served under.
        model: The transformers model, as `load_checkpoint` gives it.
        processor: Its processor.
        plan: Where the model is.
        max_batch: Windows that may wait for a step.
        revision: Of which commit it is, where it is from the hub.

    Attributes:
        samples_per_step: What one pass may take in, padding included.
    """

    def __init__(
        self,
        spec: ModelSpec,
        model_id: str,
        model: Any,
        processor: Any,
        plan: DevicePlan,
        *,
        max_batch: int = 1,
        revision: str | None = None,
    ) -> None:
        self._model = model
        self._device = torch.device(plan.torch_device)
        self._halvings = len(model.config.encoder_config.subsample_layers)  # of the frames
        self._products = widened_products(model, model.dtype, wanted=plan.widened)
        blank = int(model.config.pad_token_id)
        self._blank = blank
        self.answers = CtcAnswers(spec, plan.dtype, concurrent_decoder(processor.tokenizer), blank)
        self.samples_per_step = SAMPLES_PER_STEP if plan.kind == "cpu" else max_batch * SAMPLES_PER_STEP
        self._info = BackendInfo(
            spec=spec,
            model_id=model_id,
            device=plan.kind,
            dtype=plan.dtype,
            weight_bytes=weight_bytes(model),
            max_batch=max_batch,
            revision=revision,
        )

    @classmethod
    def load(cls, checkpoint: Checkpoint, plan: DevicePlan, facts: TorchFacts) -> CtcBackend:
        """From a checkpoint on disk.

        Raises:
            CheckpointError: it cannot be used.
        """
        loaded = load_checkpoint(checkpoint, plan, facts)
        return cls(
            checkpoint.spec,
            checkpoint.model_id,
            loaded.model,
            loaded.processor,
            plan,
            max_batch=windows_at_a_time(loaded.model.config, plan, facts),
            revision=checkpoint.revision,
        )

    @property
    def info(self) -> BackendInfo:
        """What is loaded."""
        return self._info

    def start_batch(self, interrupted: Callable[[], bool]) -> CtcBatch:  # noqa: ARG002 - a step is one short pass
        """See `Backend`."""
        return CtcBatch(self)

    def forget(self, live_key: str) -> None:
        """See `Backend`; each window is heard as a whole, so that nothing is kept."""

    def warm_up(self) -> None:
        """Noise through the model."""
        try_out(CtcBatch(self), self._info.model_id)

    def close(self) -> None:
        """Drop the model and give the memory back to the system."""
        del self._model
        release_memory()

    def label(self, requests: Sequence[RecognitionRequest]) -> list[LabelledWindow]:
        """Windows in one pass; the host waits once, for what was heard in all of them."""
        features, is_real = padded_log_mels_with_deltas([one.samples for one in requests], self._device)
        with self._products.during_pass(is_real.numel()):
            logits = self._model(input_features=features.to(self._model.dtype), attention_mask=is_real).logits
        log_probs = torch.log_softmax(logits.float(), dim=-1)
        likeliest = log_probs.max(dim=-1)
        heard = torch.stack([likeliest.indices.float(), likeliest.values, log_probs[..., self._blank]])
        labels, label_log_probs, blank_log_probs = heard.cpu().numpy()  # labels are far below 2**24: exact
        return [
            LabelledWindow(
                samples=request.samples,
                labels=tuple(labels[row, :length].astype(int).tolist()),
                label_log_probs=label_log_probs[row, :length],
                blank_log_probs=blank_log_probs[row, :length],
                context_samples=request.context_samples,
            )
            for row, request in enumerate(requests)
            for length in [delta_frames(len(request.samples)) >> self._halvings]
        ]


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
        """The window that has waited longest, and those that fit beside it, in one pass."""
        if not self._waiting:
            return []
        lengths = [len(request.samples) for request in self._waiting.values()]
        keys = list(self._waiting)
        chosen = [keys[place] for place in fitting(lengths, self._backend.samples_per_step)]
        requests = [self._waiting.pop(key) for key in chosen]
        began = time.monotonic()
        windows = self._backend.label(requests)
        hearing = Hearing(began, time.monotonic())
        answer = self._backend.answers.answer
        return [
            (key, HeardAnswer(partial(answer, window), hearing))
            for key, window in zip(chosen, windows, strict=True)
        ]


def fitting(lengths: Sequence[int], most: int) -> list[int]:
    """Which clips go into one pass: the first, and each further one that leaves the pass full enough and small enough.

    Padded to the longest of them, together they are at most `most` long (the first alone may be longer), and
    `LEAST_FILLED` of that is no padding.
    """
    chosen = [0]
    longest = total = lengths[0]
    for place, length in enumerate(lengths[1:], start=1):
        padded = max(longest, length) * (len(chosen) + 1)
        if padded <= most and total + length >= LEAST_FILLED * padded:
            chosen.append(place)
            longest, total = max(longest, length), total + length
    return chosen
