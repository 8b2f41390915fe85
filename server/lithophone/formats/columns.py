"""Words as a table's columns, for those who search or count in many transcripts. Pure; what file they end in is not known here."""

from __future__ import annotations

import math

import msgspec

from lithophone.engine.transcript import Transcript


class WordColumns(msgspec.Struct, frozen=True, kw_only=True):
    """A row for each word, in order; all columns are equally long.

    `start` and `end` are seconds in the recording. `word` has no white space around it. `speaker` is the number that the model
    gave who said it, from 1; None where it was not asked. `log_probability` is the natural logarithm of what the CTC head gives
    the word's letters, their geometric mean; None where there is no such number.
    """

    start: tuple[float, ...]
    end: tuple[float, ...]
    word: tuple[str, ...]
    speaker: tuple[int | None, ...]
    log_probability: tuple[float | None, ...]


def word_columns(transcript: Transcript) -> WordColumns:
    """The words that something is written of."""
    words = [word for word in transcript.words if word.text.strip()]
    return WordColumns(
        start=tuple(word.start_seconds for word in words),
        end=tuple(word.end_seconds for word in words),
        word=tuple(word.text.strip() for word in words),
        speaker=tuple(word.speaker for word in words),
        log_probability=tuple(_log(word.probability) for word in words),
    )


def _log(probability: float | None) -> float | None:
    """None for 0 too, which says that the text did not fit the audio."""
    return math.log(probability) if probability else None
