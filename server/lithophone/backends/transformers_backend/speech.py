"""Backend for the models with a language model: 3.3, 4.0, 4.1, 4.1 plus and the embedded one.

Owns the way from windows to text through transformers' processor and `generate`. Runs one window at a time:
transformers' encoder has no padding mask, so a clip's text would depend on its neighbours in a batch.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

from lithophone.backends.base import BackendInfo, Recognition, RecognitionRequest, Token
from lithophone.backends.device import DevicePlan, TorchFacts
from lithophone.backends.transformers_backend.checkpoint import Checkpoint
from lithophone.backends.transformers_backend.loading import load_model, speech_processor, weight_bytes
from lithophone.granite.features import SAMPLE_RATE
from lithophone.granite.labels import BLANK, empty_probability
from lithophone.granite.prompts import Task, chat_messages

TOKENS_PER_SECOND = (
    14  # about 7 for fast speech; twice that leaves room for languages that spell in small pieces
)
TOKENS_FLOOR = 64
WARM_UP_SECONDS = 2.0


class SpeechBackend:
    """A loaded Granite Speech model with its processor."""

    def __init__(self, checkpoint: Checkpoint, plan: DevicePlan, facts: TorchFacts) -> None:
        self._checkpoint = checkpoint
        self._model: Any = load_model(checkpoint, plan, facts)
        self._processor = speech_processor(checkpoint.path, self._model.config)
        self._tokenizer = self._processor.tokenizer
        self._logits_scaling = float(self._model.config.text_config.logits_scaling)
        self._control_ids = frozenset(self._tokenizer.all_special_ids)
        self._device = plan.torch_device
        self._info = BackendInfo(
            spec=checkpoint.spec,
            model_id=checkpoint.model_id,
            device=plan.kind,
            dtype=plan.dtype,
            weight_bytes=weight_bytes(self._model),
            max_batch=1,
        )

    @property
    def info(self) -> BackendInfo:
        """What is loaded."""
        return self._info

    @torch.inference_mode()
    def recognise(
        self, requests: Sequence[RecognitionRequest], interrupted: Callable[[], bool]
    ) -> list[Recognition]:
        """One window after another; see `Backend`."""
        return [self._recognise(request, interrupted) for request in requests]

    def warm_up(self) -> None:
        """Noise through encoder, projector, prefill and a few decoding steps."""
        noise = np.random.default_rng(0).normal(0.0, 0.05, int(WARM_UP_SECONDS * SAMPLE_RATE))
        self.recognise([RecognitionRequest(samples=noise.astype(np.float32))], lambda: False)

    def close(self) -> None:
        """Drop model and processor and give the memory back to the system."""
        del self._model, self._processor, self._tokenizer
        release_memory()

    def prompt(self, task: Task) -> str:
        """The text around the audio, through the checkpoint's own chat template."""
        turns = [msgspec.structs.asdict(message) for message in chat_messages(self._checkpoint.spec, task)]
        return str(self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))

    def _recognise(self, request: RecognitionRequest, interrupted: Callable[[], bool]) -> Recognition:
        inputs = self._processor(
            text=self.prompt(request.task), audio=request.samples, return_tensors="pt", device="cpu"
        ).to(self._device)
        budget = self._token_budget(request, inputs["input_ids"].shape[1])
        stop = _Interruption(interrupted)
        with _captured_output(self._model.model.encoder) as encoded:
            output = self._model.generate(
                **inputs,
                generation_config=self._generation_config(request.temperature, budget),
                stopping_criteria=StoppingCriteriaList([stop]),
            )
        emitted = output.sequences[0, inputs["input_ids"].shape[1] :]
        audio_tokens = int(inputs["input_features_mask"].sum())
        return Recognition(
            text=self._tokenizer.decode(emitted, skip_special_tokens=True).strip(),
            tokens=self._tokens(emitted, output.logits),
            prompt_tokens=inputs["input_ids"].shape[1] - audio_tokens,
            audio_tokens=audio_tokens,
            no_speech_probability=self._no_speech_probability(encoded[0]),
            truncated=len(emitted) >= budget and int(emitted[-1]) not in self._control_ids,
            interrupted=stop.happened,
        )

    def _token_budget(self, request: RecognitionRequest, prompt_length: int) -> int:
        seconds = len(request.samples) / SAMPLE_RATE
        room = int(self._model.config.text_config.max_position_embeddings) - prompt_length
        return min(TOKENS_FLOOR + round(seconds * TOKENS_PER_SECOND), room)

    def _generation_config(self, temperature: float, budget: int) -> GenerationConfig:
        """Greedy, or the exact distribution at `temperature`.

        transformers' Granite Speech gives logits that are not divided by `logits_scaling`; greedy does not mind, and
        for sampling the temperature takes the division on.
        """
        own = self._model.generation_config
        sampling = {
            "do_sample": True,
            "temperature": temperature * self._logits_scaling,
            "top_k": 0,
            "top_p": 1.0,
        }
        return GenerationConfig(
            max_new_tokens=budget,
            num_beams=1,
            bos_token_id=own.bos_token_id,
            eos_token_id=own.eos_token_id,
            pad_token_id=own.pad_token_id,
            return_dict_in_generate=True,
            output_logits=True,
            **(sampling if temperature > 0 else {"do_sample": False}),
        )

    def _tokens(self, emitted: Tensor, logits: tuple[Tensor, ...]) -> tuple[Token, ...]:
        """Emitted tokens but the control tokens, with log-probabilities at temperature 1."""
        scores = [
            float(torch.log_softmax(step[0].float() / self._logits_scaling, dim=-1)[token])
            for step, token in zip(logits, emitted, strict=True)
        ]
        return tuple(
            Token(token, self._tokenizer.decode([token]), score)
            for token, score in zip(emitted.tolist(), scores, strict=True)
            if token not in self._control_ids
        )

    def _no_speech_probability(self, hidden: Tensor) -> float:
        """By the CTC head on the last layer's hidden state (the plus model appends it behind an earlier one)."""
        head = self._model.model.encoder.out
        log_probs = torch.log_softmax(head(hidden[..., -head.in_features :]).float(), dim=-1)
        return empty_probability(log_probs[0, :, BLANK].cpu().numpy())


class _Interruption(StoppingCriteria):  # type: ignore[misc]
    """Ends decoding when asked to, and remembers it."""

    def __init__(self, interrupted: Callable[[], bool]) -> None:
        self._interrupted = interrupted
        self.happened = False

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Any:  # noqa: ARG002 - their signature
        self.happened = self.happened or self._interrupted()
        return torch.full((input_ids.shape[0],), self.happened, device=input_ids.device)


@contextmanager
def _captured_output(encoder: torch.nn.Module) -> Iterator[list[Tensor]]:
    """The encoder's last hidden state [batch, frames, hidden] of each pass made inside the context."""
    captured: list[Tensor] = []
    hook = encoder.register_forward_hook(lambda _module, _args, out: captured.append(out.last_hidden_state))
    try:
        yield captured
    finally:
        hook.remove()


def release_memory() -> None:
    """Collect what is unreachable and hand cached blocks back to the driver and the system."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    _trim_heap()


def _trim_heap() -> None:
    """Ask glibc, which keeps freed pages for reuse, to return them. Other C libraries have no such call."""
    import ctypes  # noqa: PLC0415 - used once in a server's life

    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        return
