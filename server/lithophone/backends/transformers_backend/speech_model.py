"""A loaded Granite Speech model with a language model: its halves, its prompts and its answers, held together.

Knows nothing of batches: the loop over them is `lithophone.backends.decoding.loop`.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import msgspec
import torch

from lithophone.audio.waveform import samples_from_seconds
from lithophone.backends.answers.speech import DecodedWindow, SpeechAnswers
from lithophone.backends.base import RecognitionRequest
from lithophone.backends.decoding.costs import DraftBudget, LearnedCost
from lithophone.backends.decoding.decoded import Decoded
from lithophone.backends.decoding.loop import DecodingBatch, Prompt
from lithophone.backends.decoding.packed import PackedLanguageModel
from lithophone.backends.decoding.passes import LanguageModel
from lithophone.backends.device.facts import TorchFacts
from lithophone.backends.device.plan import DevicePlan
from lithophone.backends.gpu.opening import paged_language_model
from lithophone.backends.transformers_backend.chat_template import prompt_frame
from lithophone.backends.transformers_backend.checkpoint import Checkpoint
from lithophone.backends.transformers_backend.hearing import HeardWindow, Hearing
from lithophone.backends.transformers_backend.loading import load_checkpoint, weight_bytes
from lithophone.backends.transformers_backend.pace import HearingPace
from lithophone.backends.transformers_backend.processors import concurrent_decoder
from lithophone.backends.transformers_backend.prompting import Prompting, PromptTokens
from lithophone.granite.family import ModelSpec


class PromptedWindow(msgspec.Struct, frozen=True, kw_only=True):
    """A window that was heard, and what stands around it in the prompt."""

    request: RecognitionRequest
    prompt: PromptTokens
    heard: HeardWindow


class SpeechModel:
    """Weights, tokenizer and the running estimates that drafts are sized by.

    Args:
        spec: Which member of the family it is.
        model: The transformers model, as `load_checkpoint` gives it.
        processor: Its processor.
        plan: Where the model is.
        windows: At a time, for which a GPU's keys and values get room.
        speculate: Whether transcripts are drafted by the CTC head; off, decoding goes token by token.

    Attributes:
        hearing: The acoustic half.
        prompting: What the model is given.
        answers: What is made of what it said.
        pace: How much it hears in one pass.
    """

    def __init__(
        self,
        spec: ModelSpec,
        model: Any,
        processor: Any,
        plan: DevicePlan,
        *,
        windows: int,
        speculate: bool,
    ) -> None:
        self._speculate = speculate
        self._model = model
        self.hearing = Hearing(model, plan)
        self.prompting = Prompting(
            spec,
            processor.tokenizer,
            frame=prompt_frame(spec, processor.tokenizer),
            audio_token=int(model.config.audio_token_id),
            end_tokens=_end_tokens(model.generation_config),
        )
        self.answers = SpeechAnswers(
            spec, plan.dtype, concurrent_decoder(processor.tokenizer), self.prompting.control_ids
        )
        self._language_model: LanguageModel = paged_language_model(
            model, plan, windows
        ) or PackedLanguageModel(model, torch.device(plan.torch_device))
        self._cost, self._budget = LearnedCost(), DraftBudget()
        self.pace = HearingPace(windows * samples_from_seconds(spec.max_window_seconds))

    @classmethod
    def load(
        cls, checkpoint: Checkpoint, plan: DevicePlan, facts: TorchFacts, *, windows: int, speculate: bool
    ) -> SpeechModel:
        """From a checkpoint on disk.

        Raises:
            CheckpointError: it cannot be used.
        """
        loaded = load_checkpoint(checkpoint, plan, facts)
        return cls(
            checkpoint.spec, loaded.model, loaded.processor, plan, windows=windows, speculate=speculate
        )

    @property
    def config(self) -> Any:
        """The checkpoint's configuration."""
        return self._model.config

    @property
    def weight_bytes(self) -> int:
        """Memory of the weights."""
        return weight_bytes(self._model)

    def prepare(self) -> None:
        """Let the language model compute as is fastest on this machine."""
        self._language_model.prepare()

    def start_decoding(self, *, settle_ties: bool) -> DecodingBatch:
        """An empty decoding batch; `settle_ties` as for `LanguageModel.start`."""
        return DecodingBatch(
            self._language_model.start(self.prompting.end_tokens, settle_ties=settle_ties),
            self.prompting.end_tokens,
            self._cost,
            self._budget,
        )

    def hear(self, requests: Sequence[RecognitionRequest], *, anew: bool = False) -> list[PromptedWindow]:
        """Features, encoder, CTC head and projector over all windows in one pass.

        Args:
            requests: The windows.
            anew: Compute all of live windows too, also what is settled of them.
        """
        live = [None if anew or request.live is None else request.live.key for request in requests]
        heard = self.hearing.hear([request.samples for request in requests], live)
        return [
            PromptedWindow(request=request, prompt=self.prompting.tokens(request.task), heard=window)
            for request, window in zip(requests, heard, strict=True)
        ]

    def sequence(self, key: int, window: PromptedWindow, *, speculate: bool) -> Prompt:
        """What the decoding loop needs of a window: prompt, limits and, with `speculate`, drafts."""
        prompt, live = window.prompt, window.request.live
        said = () if live is None else live.said
        embeddings = self._language_model.prompt(
            prompt.before, window.heard.embeddings, (*prompt.after, *said)
        )
        room = self._language_model.max_positions - len(embeddings)
        drafted = speculate and self._speculate
        return Prompt(
            key=key,
            embeddings=embeddings,
            max_tokens=min(self.prompting.token_budget(window.request), room),
            temperature=window.request.temperature,
            seed=_seed_of(window.request),
            speculator=(
                self.prompting.speculator(window.request, window.heard.ctc_log_probs) if drafted else None
            ),
        )

    def decoded_window(self, window: PromptedWindow, decoded: Decoded) -> DecodedWindow:
        """What an answer is made of; nothing of it is the model's any more."""
        self.prompting.learn(window.request, decoded.tokens)
        return DecodedWindow(
            request=window.request,
            ctc_log_probs=window.heard.ctc_log_probs,
            prompt_tokens=len(window.prompt.before) + len(window.prompt.after),
            audio_tokens=len(window.heard.embeddings),
            decoded=decoded,
        )


def _seed_of(request: RecognitionRequest) -> int:
    """By the audio itself, so that what is drawn for it is the same when it is asked for again; 0 where nothing is drawn."""
    return zlib.crc32(request.samples.tobytes()) if request.temperature > 0 else 0


def _end_tokens(generation_config: Any) -> frozenset[int]:
    """The end-of-text tokens of a checkpoint, which names one or several."""
    end = generation_config.eos_token_id
    return frozenset(end if isinstance(end, list) else [end])
