"""Words and when each was said; copied from `lithophone.granite.words` and `lithophone.engine.segmentation`. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

import msgspec

# A script without spaces has a word for each character; marks that continue or close one stay with it.
_UNSPACED = "\u3041-\u3096\u30a1-\u30fa\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_CLINGING = (
    "\u3001-\u3003\u3005\u300d\u300f\u3011\u3083\u3085\u3087\u30e3\u30e5\u30e7\u30fc"
    "\uff01\uff09\uff0c\uff0e\uff1a\uff1b\uff1f"
)
_WORD = re.compile(rf"\s*(?:[{_UNSPACED}][{_CLINGING}]*|[^\s{_UNSPACED}]+)")
_SENTENCE_END = re.compile(r"[.!?\u2026\u3002\uff01\uff1f][\"'\u2019\u201d\u00bb)\u300d\u300f]*$")


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """A word of a transcript and when it was said.

    `text` carries the white space before it, so that the words of a text joined are the text. `probability` is the
    geometric mean of what the CTC head gives the word's letters; 1 for a word without any, 0 where the text did not
    fit the audio and the times are shared out by length, `None` where the model told the times itself. `speaker` is the
    number the model gave who said it, where it was asked.
    """

    text: str
    start_seconds: float
    end_seconds: float
    probability: float | None = None
    speaker: int | None = None

    @property
    def middle_seconds(self) -> float:
        """Half way through the word."""
        return (self.start_seconds + self.end_seconds) / 2


class Sound(NamedTuple):
    """When a word's letters fire, and how sure they are."""

    start_seconds: float
    stop_seconds: float
    probability: float


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of a transcript, with the words whose times are known; the server's has more."""

    start_seconds: float
    end_seconds: float
    text: str
    words: tuple[Word, ...] = ()


def split_words(text: str) -> list[str]:
    """The words of `text`, each with the white space before it; joined they are `text`. Blank text has none."""
    words = [match.group() for match in _WORD.finditer(text)]
    if words:
        words[-1] += text[sum(map(len, words)) :]
    return words


def spread_words(text: str, start_seconds: float, end_seconds: float) -> tuple[Word, ...]:
    """The words of `text` shared out over a stretch by their lengths, with probability 0: nobody heard when."""
    words = split_words(text)
    sounds = _shared(Sound(start_seconds, end_seconds, 0.0), [len(word) for word in words]) if words else []
    return tuple(
        Word(text=word, start_seconds=sound.start_seconds, end_seconds=sound.stop_seconds, probability=0.0)
        for word, sound in zip(words, sounds, strict=True)
    )


def ends_sentence(text: str) -> bool:
    """Whether a word closes a sentence by its punctuation."""
    return _SENTENCE_END.search(text.rstrip()) is not None


def _shared(sound: Sound, lengths: Sequence[int]) -> list[Sound]:
    """One sound shared out among words by their lengths."""
    total, start, stop = sum(lengths), sound.start_seconds, sound.stop_seconds
    bounds = [min(stop, start + (stop - start) * part / total) for part in accumulate(lengths, initial=0)]
    return [Sound(begin, end, sound.probability) for begin, end in pairwise(bounds)]
