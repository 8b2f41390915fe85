"""From a request to what the model is given, and to guesses at what it will say.

Owns the prompt's tokens around the audio, the limit on a transcript's length, and the drafts. Knows no device and decides nothing about what is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from lithophone.audio.waveform import seconds_from_samples
from lithophone.backends.answers.speech import behind_context
from lithophone.backends.base import RecognitionRequest
from lithophone.backends.decoding.speculation import (
    LEAST_EXPECTED,
    REPETITION_EXPECTED,
    TRANSCRIPT_EXPECTED,
    Acceptance,
    Source,
    Speculator,
)
from lithophone.backends.transformers_backend.chat_template import PromptFrame
from lithophone.granite.drafts import RepetitionDraft, TranscriptDraft, TranscriptStyle, continued_text
from lithophone.granite.family import ModelSpec
from lithophone.granite.labels import greedy_text
from lithophone.granite.prompts import Tags, Task, chat_messages

TOKENS_PER_SECOND = 14  # twice that of fast English: some languages spell in small pieces
TIMED_TOKENS_PER_SECOND = 40  # about seven a word, numbers of its time tag included
TOKENS_FLOOR = 64


class PromptTokens(msgspec.Struct, frozen=True):
    """The text tokens of a prompt, before the audio and behind it."""

    before: list[int]
    after: list[int]


class Prompting:
    """The tokenizer of a model, and the running estimates that drafts are made by.

    Args:
        spec: Which member of the family it is.
        tokenizer: The model's.
        frame: What stands around the words of a prompt.
        audio_token: What stands in the prompt for the audio.
        end_tokens: Tokens that end a transcript.
    """

    def __init__(
        self,
        spec: ModelSpec,
        tokenizer: Any,
        *,
        frame: PromptFrame,
        audio_token: int,
        end_tokens: frozenset[int],
    ) -> None:
        self._spec = spec
        self._frame = frame
        self._tokenizer = tokenizer
        self._audio_token = audio_token
        self.end_tokens = end_tokens
        self._transcripts = {tags: Acceptance(TRANSCRIPT_EXPECTED) for tags in (None, *Tags)}
        self._live = Acceptance(TRANSCRIPT_EXPECTED)
        self._style = TranscriptStyle()

    @property
    def control_ids(self) -> frozenset[int]:
        """Tokens that are no part of a transcript."""
        return frozenset(self._tokenizer.all_special_ids)

    def prompt(self, task: Task) -> str:
        """The text around the audio, in the frame of the checkpoint's own chat template."""
        words = chat_messages(self._spec, task)[-1].content
        return self._frame.around(words, task.prefix_text)

    def tokens(self, task: Task) -> PromptTokens:
        """What stands around the audio."""
        tokens: list[int] = self._tokenizer(self.prompt(task))["input_ids"]
        place = tokens.index(self._audio_token)
        return PromptTokens(tokens[:place], tokens[place + 1 :])

    def token_budget(self, request: RecognitionRequest) -> int:
        """The most tokens to emit for a window of this length."""
        timed = request.task.tags is Tags.WORD_TIMES
        pace = TIMED_TOKENS_PER_SECOND if timed else TOKENS_PER_SECOND
        return TOKENS_FLOOR + round(seconds_from_samples(len(request.samples)) * pace)

    def speculator(self, request: RecognitionRequest, ctc_log_probs: NDArray[np.float32]) -> Speculator:
        """What the CTC head read is a draft of a transcript, not of a translation."""
        repetition = Source(RepetitionDraft(), REPETITION_EXPECTED)
        if request.task.translate_to is not None:
            return Speculator([repetition])
        accepted = self._live if request.live is not None else self._transcripts[request.task.tags]
        text = greedy_text(behind_context(request, ctc_log_probs).argmax(axis=-1).tolist())
        draft = TranscriptDraft(self._written(request, text), self.encode, self.decode, min(self.end_tokens))
        return Speculator([Source(draft, max(LEAST_EXPECTED, accepted.rate), accepted), repetition])

    def _written(self, request: RecognitionRequest, ctc_text: str) -> str:
        """CTC text as the model is expected to write it; of a live window, behind what it wrote the last time."""
        live = request.live
        if live is None:
            return self._style.apply(ctc_text)
        style = self._style.continued() if live.said else self._style
        return style.apply(continued_text(live.expected, ctc_text))

    def learn(self, request: RecognitionRequest, tokens: Sequence[int]) -> None:
        """See how a transcript is written, for the drafts of the next; a live window is a piece of one."""
        task = request.task
        if task.tags is not None or task.translate_to is not None or request.live is not None:
            return
        said = self.decode(tokens)
        if said.strip():
            self._style = TranscriptStyle.of(said)

    def encode(self, text: str) -> list[int]:
        """Text to tokens; the tokenizer beneath transformers' wrapper is five times as fast on short texts."""
        return self._tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, tokens: Sequence[int]) -> str:
        """Tokens to text, control tokens left out."""
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True))
