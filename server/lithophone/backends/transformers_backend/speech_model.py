"""A loaded Granite Speech model with a language model, in the parts that transcription is made of.

Owns the way from a window to a prompt with a draft (features, encoder, CTC head, projector, chat template) and from
emitted tokens to a result. Knows nothing of batches: the loop over them is `lithophone.backends.decoding.loop`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lithophone.backends.base import Recognition, RecognitionRequest, Samples, Token
from lithophone.backends.decoding.encoder import ClipwiseEncoder, FrameCounts, PackedEncoder, project
from lithophone.backends.decoding.language_model import LanguageModel
from lithophone.backends.decoding.loop import Decoded, DecodingBatch, Prompt
from lithophone.backends.decoding.measuring import measure_pass_cost
from lithophone.backends.decoding.products import widened_products
from lithophone.backends.decoding.speculation import (
    LEAST_EXPECTED,
    REPETITION_EXPECTED,
    TRANSCRIPT_EXPECTED,
    Acceptance,
    PassCost,
    Source,
    Speculator,
)
from lithophone.backends.device import DevicePlan, TorchFacts
from lithophone.backends.transformers_backend.checkpoint import Checkpoint
from lithophone.backends.transformers_backend.loading import load_model, speech_processor, weight_bytes
from lithophone.granite.drafts import RepetitionDraft, TranscriptDraft, TranscriptStyle
from lithophone.granite.family import ModelSpec
from lithophone.granite.features import SAMPLE_RATE
from lithophone.granite.labels import BLANK, empty_probability, greedy_text
from lithophone.granite.levels import levels_of
from lithophone.granite.parsing import has_word_times, spoken_words, timed_words
from lithophone.granite.prompts import Tags, Task, chat_messages
from lithophone.granite.words import Word, align_words, spread_over_speech

TOKENS_PER_SECOND = 14  # twice that of fast English: some languages spell in small pieces
TIMED_TOKENS_PER_SECOND = 40  # about seven a word, numbers of its time tag included
TOKENS_FLOOR = 64
FRAME_SAMPLES = 320  # of the CTC head: 20 ms


class HeardWindow(msgspec.Struct, frozen=True, kw_only=True):
    """What the acoustic half of the model makes of a window.

    Attributes:
        ctc_log_probs: Natural-log probabilities of the grapheme labels by the CTC head, float32 [frames, labels], 20 ms
            a frame.
        embeddings: The audio tokens of the prompt, [audio tokens, hidden of the language model].
        before: The prompt's text tokens before the audio.
        after: Those behind it.
    """

    ctc_log_probs: NDArray[np.float32]
    embeddings: Tensor
    before: list[int]
    after: list[int]


class SpeechModel:
    """Weights, tokenizer and the running estimates that drafts are sized by.

    Args:
        spec: Which member of the family it is.
        model: The transformers model, as `load_model` gives it.
        processor: Its processor, as `speech_processor` gives it.
        plan: Where the model is.
        speculate: Whether transcripts are drafted by the CTC head; off, decoding goes token by token.
    """

    def __init__(
        self, spec: ModelSpec, model: Any, processor: Any, plan: DevicePlan, *, speculate: bool
    ) -> None:
        self._spec = spec
        self._speculate = speculate
        self._model = model
        self._processor = processor
        self._tokenizer: Any = self._processor.tokenizer
        self._device = torch.device(plan.torch_device)
        encoder = self._model.model.encoder
        spread = plan.device_map is not None
        self._encoder = (
            ClipwiseEncoder(encoder, self._device) if spread else PackedEncoder(encoder, widened=plan.widened)
        )
        projector = self._model.model.projector
        self._projection = widened_products(projector, self._model.dtype, wanted=plan.widened)
        self._language_model = LanguageModel(self._model, self._device)
        self._control_ids = frozenset(self._tokenizer.all_special_ids)
        self._end_tokens = _end_tokens(self._model.generation_config)
        self._pass_cost = PassCost()
        self._transcripts = {tags: Acceptance(TRANSCRIPT_EXPECTED) for tags in (None, *Tags)}
        self._style = TranscriptStyle()

    @classmethod
    def load(
        cls, checkpoint: Checkpoint, plan: DevicePlan, facts: TorchFacts, *, speculate: bool
    ) -> SpeechModel:
        """From a checkpoint on disk.

        Raises:
            CheckpointError: it cannot be used.
        """
        model = load_model(checkpoint, plan, facts)
        processor = speech_processor(checkpoint.path, model.config)
        return cls(checkpoint.spec, model, processor, plan, speculate=speculate)

    @property
    def config(self) -> Any:
        """The checkpoint's configuration."""
        return self._model.config

    @property
    def frame_counts(self) -> FrameCounts:
        """What has gone through the encoder so far."""
        return self._encoder.counts

    @property
    def weight_bytes(self) -> int:
        """Memory of the weights."""
        return weight_bytes(self._model)

    def measure(self) -> None:
        """Put the clock on the language model, so that drafts are as long as they are worth on this machine."""
        self._pass_cost = measure_pass_cost(self._language_model)

    def start_decoding(self, *, settle_ties: bool) -> DecodingBatch:
        """An empty decoding batch; see there."""
        return DecodingBatch(self._language_model, self._end_tokens, self._pass_cost, settle_ties=settle_ties)

    def prompt(self, task: Task) -> str:
        """The text around the audio, through the checkpoint's own chat template."""
        turns = [msgspec.structs.asdict(message) for message in chat_messages(self._spec, task)]
        prefix = {"prefix_text": task.prefix_text} if task.prefix_text else {}
        rendered = str(
            self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True, **prefix)
        )
        return rendered if rendered.endswith(task.prefix_text) else rendered + task.prefix_text

    def hear(self, requests: Sequence[RecognitionRequest]) -> list[HeardWindow]:
        """Processor, then encoder, CTC head and projector over all windows in one pass."""
        if not requests:
            return []
        inputs = [self._process(request) for request in requests]
        hidden = self._encoder.encode([features for features, _, _ in inputs])
        with self._projection.during_pass(sum(map(len, hidden))):
            embeddings = project(self._model.model.projector, hidden)
        return [
            HeardWindow(
                ctc_log_probs=self._encoder.ctc_log_probs(states).cpu().numpy(),
                embeddings=audio,
                before=before,
                after=after,
            )
            for states, audio, (_, before, after) in zip(hidden, embeddings, inputs, strict=True)
        ]

    def _process(self, request: RecognitionRequest) -> tuple[Tensor, list[int], list[int]]:
        """Through transformers' processor: features [frames, 160] and the prompt's tokens around the audio's places."""
        inputs = self._processor(
            text=self.prompt(request.task),
            audio=request.samples,
            return_tensors="pt",
            device=str(self._device),
        )
        tokens: list[int] = inputs["input_ids"][0].tolist()
        audio = int(self._model.config.audio_token_id)
        first, places = tokens.index(audio), tokens.count(audio)
        return inputs["input_features"][0], tokens[:first], tokens[first + places :]

    def sequence(
        self, key: int, request: RecognitionRequest, window: HeardWindow, *, speculate: bool
    ) -> Prompt:
        """What the decoding loop needs of a window: prompt, limits and, with `speculate`, drafts."""
        text = self._language_model.embed([*window.before, *window.after])
        audio = window.embeddings.to(text.device, text.dtype)
        places = len(window.before)
        embeddings = torch.cat([text[:places], audio, text[places:]])
        return Prompt(
            key=key,
            embeddings=embeddings,
            max_tokens=self._token_budget(request, len(embeddings)),
            temperature=request.temperature,
            speculator=self._speculator(request, window) if speculate and self._speculate else None,
        )

    def recognition(
        self,
        request: RecognitionRequest,
        window: HeardWindow,
        decoded: Decoded,
    ) -> Recognition:
        """The result of a window from what was said in it."""
        said = self._decode(decoded.tokens)
        answer = said.strip()
        if answer and _is_transcript(request.task):
            self._style = TranscriptStyle.of(said)
        log_probs = _new_frames(request, window)
        text, words = self._read(answer, request, log_probs)
        return Recognition(
            text=text,
            tokens=self._tokens(decoded),
            prompt_tokens=len(window.before) + len(window.after),
            audio_tokens=len(window.embeddings),
            no_speech_probability=empty_probability(log_probs[:, BLANK]),
            truncated=decoded.truncated,
            passes=decoded.passes,
            drafted_tokens=decoded.drafted,
            accepted_tokens=decoded.accepted,
            words=words,
        )

    def _read(
        self, answer: str, request: RecognitionRequest, log_probs: NDArray[np.float32]
    ) -> tuple[str, tuple[Word, ...]]:
        """The text of the model's answer, and its words with their times."""
        samples = request.samples[request.context_samples :]
        seconds = len(samples) / SAMPLE_RATE
        if request.task.translate_to is not None:
            return answer, spread_over_speech(answer, log_probs, duration_seconds=seconds)
        if request.task.tags is Tags.WORD_TIMES and has_word_times(answer):
            timed = timed_words(answer, seconds)
            return "".join(word.text for word in timed), timed
        if request.task.tags is not Tags.SPEAKERS:
            return answer, self._aligned(answer, log_probs, samples)
        spoken = spoken_words(answer)
        words = self._aligned(spoken.text, log_probs, samples)
        return spoken.text, tuple(
            msgspec.structs.replace(word, speaker=speaker)
            for word, speaker in zip(words, spoken.speakers, strict=True)
        )

    def _aligned(self, text: str, log_probs: NDArray[np.float32], samples: Samples) -> tuple[Word, ...]:
        return align_words(
            text,
            log_probs,
            duration_seconds=len(samples) / SAMPLE_RATE,
            bias_seconds=self._spec.ctc_bias_seconds,
            levels=levels_of(samples),
        )

    def _speculator(self, request: RecognitionRequest, window: HeardWindow) -> Speculator:
        """What the CTC head read is a draft of a transcript, not of a translation."""
        repetition = Source(RepetitionDraft(), REPETITION_EXPECTED)
        if request.task.translate_to is not None:
            return Speculator([repetition])
        accepted = self._transcripts[request.task.tags]
        text = greedy_text(_new_frames(request, window).argmax(axis=-1).tolist())
        draft = TranscriptDraft(self._style.apply(text), self.encode, self._decode, min(self._end_tokens))
        return Speculator([Source(draft, max(LEAST_EXPECTED, accepted.rate), accepted), repetition])

    def encode(self, text: str) -> list[int]:
        """Text to tokens; the tokenizer beneath transformers' wrapper is five times as fast on short texts."""
        return self._tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids

    def _decode(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True))

    def _token_budget(self, request: RecognitionRequest, prompt_length: int) -> int:
        seconds = len(request.samples) / SAMPLE_RATE
        room = self._language_model.max_positions - prompt_length
        timed = request.task.tags is Tags.WORD_TIMES
        pace = TIMED_TOKENS_PER_SECOND if timed else TOKENS_PER_SECOND
        return min(TOKENS_FLOOR + round(seconds * pace), room)

    def _tokens(self, decoded: Decoded) -> tuple[Token, ...]:
        """Emitted tokens but the control tokens, with log-probabilities at temperature 1."""
        return tuple(
            Token(token, self._tokenizer.decode([token]), log_prob)
            for token, log_prob in zip(decoded.tokens, decoded.log_probs, strict=True)
            if token not in self._control_ids
        )


def _end_tokens(generation_config: Any) -> frozenset[int]:
    """The end-of-text tokens of a checkpoint, which names one or several."""
    end = generation_config.eos_token_id
    return frozenset(end if isinstance(end, list) else [end])


def _new_frames(request: RecognitionRequest, window: HeardWindow) -> NDArray[np.float32]:
    """What the CTC head heard behind the context."""
    return window.ctc_log_probs[request.context_samples // FRAME_SAMPLES :]


def _is_transcript(task: Task) -> bool:
    """Whether the answer is written as transcripts are, so that it tells how the next draft should look."""
    return task.tags is None and task.translate_to is None
