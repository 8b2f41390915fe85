"""Backend for the models that are a CTC head alone: 5.0.

Owns the way from windows to text through transformers' processor and CTC model: one pass, no language model, no prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from lithophone.backends.base import BackendInfo, Recognition, RecognitionRequest, Samples, Token
from lithophone.backends.decoding.products import widened_products
from lithophone.backends.device import DevicePlan, TorchFacts
from lithophone.backends.transformers_backend.checkpoint import Checkpoint
from lithophone.backends.transformers_backend.loading import ctc_processor, load_model, weight_bytes
from lithophone.backends.transformers_backend.speech import WARM_UP_SECONDS, release_memory
from lithophone.granite.alignment import FrameSpan
from lithophone.granite.family import ModelSpec
from lithophone.granite.features import SAMPLE_RATE
from lithophone.granite.labels import empty_probability
from lithophone.granite.levels import levels_of
from lithophone.granite.words import Word, group_tokens, time_words

FRAME_SECONDS: Final = 0.08  # log-mels of 10 ms stacked by 2, subsampled by 4


class CtcBackend:
    """A loaded 5.0 model with its processor.

    Args:
        spec: Which member of the family it is.
        model_id: The name it is served under.
        model: The transformers model, as `load_model` gives it.
        processor: Its processor, as `ctc_processor` gives it.
        plan: Where the model is.
    """

    def __init__(self, spec: ModelSpec, model_id: str, model: Any, processor: Any, plan: DevicePlan) -> None:
        self._model = model
        self._processor = processor
        self._tokenizer = self._processor.tokenizer
        self._blank = int(self._model.config.pad_token_id)
        self._device = plan.torch_device
        self._products = widened_products(self._model, self._model.dtype, wanted=plan.widened)
        self._bias_seconds = spec.ctc_bias_seconds
        self._info = BackendInfo(
            spec=spec,
            model_id=model_id,
            device=plan.kind,
            dtype=plan.dtype,
            weight_bytes=weight_bytes(self._model),
            max_batch=1,
        )

    @classmethod
    def load(cls, checkpoint: Checkpoint, plan: DevicePlan, facts: TorchFacts) -> CtcBackend:
        """From a checkpoint on disk.

        Raises:
            CheckpointError: it cannot be used.
        """
        model = load_model(checkpoint, plan, facts)
        return cls(checkpoint.spec, checkpoint.model_id, model, ctc_processor(checkpoint.path), plan)

    @property
    def info(self) -> BackendInfo:
        """What is loaded."""
        return self._info

    @torch.inference_mode()
    def recognise(
        self, requests: Sequence[RecognitionRequest], interrupted: Callable[[], bool]
    ) -> list[Recognition]:
        """One window after another; see `Backend`. A single pass has no steps to interrupt between."""
        return [self._recognise(request, interrupted) for request in requests]

    def warm_up(self) -> None:
        """Noise through the model."""
        noise = np.random.default_rng(0).normal(0.0, 0.05, int(WARM_UP_SECONDS * SAMPLE_RATE))
        self.recognise([RecognitionRequest(samples=noise.astype(np.float32))], lambda: False)

    def close(self) -> None:
        """Drop model and processor and give the memory back to the system."""
        del self._model, self._processor, self._tokenizer
        release_memory()

    def _recognise(self, request: RecognitionRequest, interrupted: Callable[[], bool]) -> Recognition:
        if interrupted():
            return Recognition(
                text="",
                tokens=(),
                prompt_tokens=0,
                audio_tokens=0,
                no_speech_probability=0.0,
                interrupted=True,
            )
        inputs = self._processor(audio=request.samples, sampling_rate=SAMPLE_RATE).to(self._device)
        features = inputs["input_features"].to(self._model.dtype)
        with self._products.during_pass(features.shape[1]):
            output = self._model.generate(
                input_features=features, attention_mask=inputs["attention_mask"], return_dict_in_generate=True
            )
        log_probs = torch.log_softmax(output.logits[0].float(), dim=-1).cpu()
        labels = output.sequences[0].cpu()
        text = self._tokenizer.decode(labels, skip_special_tokens=True).strip()
        return Recognition(
            text=text,
            tokens=self._tokens(labels, log_probs),
            prompt_tokens=0,
            audio_tokens=len(labels),
            no_speech_probability=empty_probability(log_probs[:, self._blank].numpy()),
            words=self._words(text, labels, log_probs, request.samples),
        )

    def _tokens(self, labels: Tensor, log_probs: Tensor) -> tuple[Token, ...]:
        """Runs of one label, blanks left out; a run's score is that of its surest frame."""
        return tuple(
            Token(
                label,
                self._tokenizer.decode([label]),
                float(log_probs[span.start : span.stop, label].max()),
            )
            for label, span in self._runs(labels, log_probs)
        )

    def _words(self, text: str, labels: Tensor, log_probs: Tensor, samples: Samples) -> tuple[Word, ...]:
        """The words of the head's own text: their times are those of its tokens."""
        spans = [span for _, span in self._runs(labels, log_probs)]
        stops = [self._text_length(labels[: span.stop]) for span in spans]
        grouped = group_tokens(text, stops, spans, FRAME_SECONDS)
        return time_words(
            [word for word, _ in grouped],
            [sound for _, sound in grouped],
            duration_seconds=len(samples) / SAMPLE_RATE,
            bias_seconds=self._bias_seconds,
            levels=levels_of(samples),
        )

    def _text_length(self, labels: Tensor) -> int:
        return len(self._tokenizer.decode(labels, skip_special_tokens=True).strip())

    def _runs(self, labels: Tensor, log_probs: Tensor) -> list[tuple[int, FrameSpan]]:
        """Label and frames of each run that is no blank."""
        runs: list[tuple[int, FrameSpan]] = []
        for label, group in groupby(enumerate(labels.tolist()), key=lambda frame: frame[1]):
            frames = [index for index, _ in group]
            if label != self._blank:
                start, stop = frames[0], frames[-1] + 1
                runs.append((label, FrameSpan(start, stop, float(log_probs[start:stop, label].mean()))))
        return runs
