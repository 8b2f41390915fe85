"""Answers of the models with a language model.

Owns the way from emitted tokens and the CTC head's probabilities to text, words, times and scores. Knows no model and no
device; may run on any thread, several at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from lithophone.audio.waveform import seconds_from_samples
from lithophone.backends.answers.tokens import token_stops
from lithophone.backends.base import Recognition, RecognitionRequest, Samples, Token, not_finite
from lithophone.backends.decoding.decoded import Decoded
from lithophone.granite.family import ModelSpec
from lithophone.granite.labels import BLANK, empty_probability
from lithophone.granite.levels import levels_of
from lithophone.granite.parsing import has_word_times, spoken_words, timed_words
from lithophone.granite.prompts import Tags
from lithophone.granite.words import Word, align_words, spread_over_speech

FRAME_SAMPLES = 320  # of the CTC head: 20 ms


class DecodedWindow(msgspec.Struct, frozen=True, kw_only=True):
    """A window as it left the model.

    Attributes:
        request: What was asked.
        ctc_log_probs: Natural-log probabilities of the grapheme labels, float32 [frames, labels], 20 ms a frame.
        prompt_tokens: Text tokens of its prompt.
        audio_tokens: Places the audio took in it.
        decoded: What was said.
    """

    request: RecognitionRequest
    ctc_log_probs: NDArray[np.float32]
    prompt_tokens: int
    audio_tokens: int
    decoded: Decoded

    @property
    def new_log_probs(self) -> NDArray[np.float32]:
        """What the CTC head heard behind the context."""
        return behind_context(self.request, self.ctc_log_probs)

    @property
    def new_samples(self) -> Samples:
        """The audio behind the context."""
        return self.request.samples[self.request.context_samples :]


class SpeechAnswers:
    """Makes the answers of one model.

    Args:
        spec: Which member of the family it is.
        dtype: What it computes in, for the message about numbers that are none.
        decode: Tokens to text, without control tokens. Must bear several threads at once.
        control_ids: Tokens that are no part of a transcript.
    """

    def __init__(
        self,
        spec: ModelSpec,
        dtype: str,
        decode: Callable[[Sequence[int]], str],
        control_ids: frozenset[int],
    ) -> None:
        self._spec = spec
        self._dtype = dtype
        self._decode = decode
        self._control_ids = control_ids

    def answer(self, window: DecodedWindow) -> Recognition:
        """The result of a window.

        Raises:
            NotFiniteError: its probabilities are no numbers.
        """
        decoded, log_probs = window.decoded, window.new_log_probs
        self._require_numbers(decoded, log_probs)
        live = window.request.live
        goes_on = live is not None and live.said
        written = self._decode(decoded.tokens).rstrip()
        text, words = self._read(written if goes_on else written.lstrip(), window)
        tokens = self._tokens(decoded)
        return Recognition(
            text=text,
            tokens=tokens,
            prompt_tokens=window.prompt_tokens,
            audio_tokens=window.audio_tokens,
            no_speech_probability=empty_probability(log_probs[:, BLANK]),
            truncated=decoded.truncated,
            passes=decoded.passes,
            drafted_tokens=decoded.drafted,
            accepted_tokens=decoded.accepted,
            words=words,
            token_stops=() if live is None else self._token_stops(words, tokens, trimmed=not goes_on),
            end_logprob=self._end_logprob(decoded),
        )

    def _end_logprob(self, decoded: Decoded) -> float | None:
        ended = decoded.tokens and decoded.tokens[-1] in self._control_ids
        return decoded.log_probs[-1] if ended else None

    def _token_stops(
        self, words: Sequence[Word], tokens: Sequence[Token], *, trimmed: bool
    ) -> tuple[int, ...]:
        """For each word the tokens up to its end; see `Recognition`."""
        ids = [token.id for token in tokens]
        written = [self._decode(ids[:count]) for count in range(len(ids) + 1)]
        return token_stops(
            [len(word.text) for word in words], [text.lstrip() if trimmed else text for text in written]
        )

    def _require_numbers(self, decoded: Decoded, log_probs: NDArray[np.float32]) -> None:
        heard = float(log_probs.sum(dtype=np.float64))
        if not math.isfinite(heard) or not all(map(math.isfinite, decoded.log_probs)):
            raise not_finite(self._spec.id, self._dtype)

    def _read(self, answer: str, window: DecodedWindow) -> tuple[str, tuple[Word, ...]]:
        """The text of the model's answer, and its words with their times."""
        task, samples = window.request.task, window.new_samples
        seconds = seconds_from_samples(len(samples))
        if task.translate_to is not None:
            return answer, spread_over_speech(answer, window.new_log_probs, duration_seconds=seconds)
        if task.tags is Tags.WORD_TIMES and has_word_times(answer):
            timed = timed_words(answer, seconds)
            return "".join(word.text for word in timed), timed
        if task.tags is not Tags.SPEAKERS:
            return answer, self._aligned(answer, window)
        spoken = spoken_words(answer)
        words = self._aligned(spoken.text, window)
        return spoken.text, tuple(
            msgspec.structs.replace(word, speaker=speaker)
            for word, speaker in zip(words, spoken.speakers, strict=True)
        )

    def _aligned(self, text: str, window: DecodedWindow) -> tuple[Word, ...]:
        samples = window.new_samples
        return align_words(
            text,
            window.new_log_probs,
            duration_seconds=seconds_from_samples(len(samples)),
            bias_seconds=self._spec.ctc_bias_seconds,
            levels=levels_of(samples),
        )

    def _tokens(self, decoded: Decoded) -> tuple[Token, ...]:
        """Emitted tokens but the control tokens, with log-probabilities at temperature 1."""
        return tuple(
            Token(token, self._decode([token]), log_prob)
            for token, log_prob in zip(decoded.tokens, decoded.log_probs, strict=True)
            if token not in self._control_ids
        )


def behind_context(request: RecognitionRequest, ctc_log_probs: NDArray[np.float32]) -> NDArray[np.float32]:
    """The frames behind what was heard before the window."""
    return ctc_log_probs[request.context_samples // FRAME_SAMPLES :]
