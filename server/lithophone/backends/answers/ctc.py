"""Answers of the models that are a CTC head alone.

Owns the way from a label for each frame to text, words and times. Knows no model and no device; may run on any thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate, groupby
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from lithophone.audio.waveform import seconds_from_samples
from lithophone.backends.answers.tokens import token_stops
from lithophone.backends.base import Recognition, Samples, Token, not_finite
from lithophone.granite.alignment import FrameSpan
from lithophone.granite.family import ModelSpec
from lithophone.granite.labels import empty_probability
from lithophone.granite.levels import levels_of
from lithophone.granite.words import Word, group_tokens, moved, time_words

FRAME_SECONDS: Final = 0.08  # log-mels of 10 ms stacked by 2, subsampled by 4

LABELS_SEEN: Final = 5  # at once, to know what the last of them adds to the text


class LabelledWindow(msgspec.Struct, frozen=True, kw_only=True):
    """A window as it left the model.

    Attributes:
        samples: What was heard.
        labels: The likeliest of each frame.
        label_log_probs: Its natural-log probability, float32 [frames].
        blank_log_probs: That of the blank, float32 [frames].
        context_samples: How much was heard before; the answer is what follows.
    """

    samples: Samples
    labels: tuple[int, ...]
    label_log_probs: NDArray[np.float32]
    blank_log_probs: NDArray[np.float32]
    context_samples: int = 0


class _Run(msgspec.Struct, frozen=True):
    """Frames of one label in a row."""

    label: int
    span: FrameSpan


class CtcAnswers:
    """Makes the answers of one model.

    Args:
        spec: Which member of the family it is.
        dtype: What it computes in, for the message about numbers that are none.
        decode: Labels to text: runs merged, blanks left out. Must bear several threads at once.
        blank: The label of nothing.
    """

    def __init__(
        self, spec: ModelSpec, dtype: str, decode: Callable[[Sequence[int]], str], blank: int
    ) -> None:
        self._spec = spec
        self._dtype = dtype
        self._decode = decode
        self._blank = blank

    def answer(self, window: LabelledWindow) -> Recognition:
        """The result of a window.

        Raises:
            NotFiniteError: its probabilities are no numbers.
        """
        heard = window.label_log_probs.sum(dtype=np.float64) + window.blank_log_probs.sum(dtype=np.float64)
        if not np.isfinite(heard):
            raise not_finite(self._spec.id, self._dtype)
        runs = self._runs(window)
        text = self._decode(window.labels).strip()
        text_stops = self._stops([run.label for run in runs])
        words = self._words(text, text_stops, runs, window)
        stops = token_stops([len(word.text) for word in words], [text[:stop] for stop in (0, *text_stops)])
        context_seconds = seconds_from_samples(window.context_samples)
        known = sum(word.middle_seconds < context_seconds for word in words)
        skipped = stops[known - 1] if known else 0
        return Recognition(
            text="".join(word.text for word in words[known:]),
            tokens=tuple(self._token(run, window) for run in runs[skipped:]),
            prompt_tokens=0,
            audio_tokens=len(window.labels),
            no_speech_probability=empty_probability(window.blank_log_probs),
            words=tuple(moved(word, -context_seconds) for word in words[known:]),
            token_stops=tuple(stop - skipped for stop in stops[known:]),
        )

    def _runs(self, window: LabelledWindow) -> list[_Run]:
        """Runs of one label, blanks left out."""
        runs: list[_Run] = []
        for label, group in groupby(enumerate(window.labels), key=lambda frame: frame[1]):
            frames = [index for index, _ in group]
            if label != self._blank:
                start, stop = frames[0], frames[-1] + 1
                score = float(window.label_log_probs[start:stop].mean())
                runs.append(_Run(label, FrameSpan(start, stop, score)))
        return runs

    def _token(self, run: _Run, window: LabelledWindow) -> Token:
        """A run's score is that of its surest frame."""
        surest = window.label_log_probs[run.span.start : run.span.stop].max()
        return Token(run.label, self._decode([run.label]), float(surest))

    def _words(
        self, text: str, stops: Sequence[int], runs: Sequence[_Run], window: LabelledWindow
    ) -> tuple[Word, ...]:
        """The words of the head's own text: their times are those of its tokens."""
        grouped = group_tokens(text, stops, [run.span for run in runs], FRAME_SECONDS)
        return time_words(
            [word for word, _ in grouped],
            [sound for _, sound in grouped],
            duration_seconds=seconds_from_samples(len(window.samples)),
            bias_seconds=self._spec.ctc_bias_seconds,
            levels=levels_of(window.samples),
        )

    def _stops(self, labels: Sequence[int]) -> list[int]:
        """For each label of a text the first character behind it, once white space around the text is gone.

        What a label adds is seen beside the few before it: a space may depend on the label before, and a character may
        take the bytes of four.
        """
        apart = [
            part for label in labels for part in (self._blank, label)
        ]  # else two of the same would be one
        lengths: list[int] = []
        for place in range(1, len(labels) + 1):
            first = max(0, place - LABELS_SEEN)
            seen = self._decode(apart[2 * first : 2 * place])
            before = self._decode(apart[2 * first : 2 * place - 2])
            lengths.append((lengths[-1] if lengths else 0) + len(seen) - len(before))
        return stops_without_space(self._decode(apart), lengths)


def stops_without_space(text: str, stops: Sequence[int]) -> list[int]:
    """The lengths of `text[:stop].strip()`, without making any of them."""
    leading = len(text) - len(text.lstrip())
    solid = [0, *accumulate((place * (not letter.isspace()) for place, letter in enumerate(text, 1)), max)]
    return [max(0, solid[min(stop, len(text))] - leading) for stop in stops]
