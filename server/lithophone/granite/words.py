"""The words of a transcript and when each was said.

Owns what a word is, its spelling in the letters of Granite's CTC head, and its times. Pure: no torch, no audio.

A word the head cannot spell (digits, other scripts) is aligned as "anything" and gets what its neighbours leave; one
without sound (a lone dash) gets the gap between them. A CTC head fires late by a constant, which is taken off; a word
before a pause lasts until its sound has faded.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Final, NamedTuple

import msgspec
import numpy as np

from lithophone.granite.alignment import ANYTHING, FrameSpan, LogProbs, align
from lithophone.granite.labels import BLANK, FIRST_KATAKANA, KATAKANA_BASE
from lithophone.granite.levels import Levels, fading_seconds

FRAME_SECONDS: Final = 0.02
JOINED_SECONDS: Final = 0.2  # a word whose letters end this shortly before the next one lasts until then
TAIL_SECONDS: Final = (
    0.11  # how long a word before a pause lasts behind its last letter, where the sound does not tell
)

SPACE: Final = 32
SMALL_LATIN: Final = range(0xDF, 0x100)
KATAKANA: Final = range(KATAKANA_BASE, 0x30FD)
HIRAGANA: Final = range(0x3041, 0x3097)
HIRAGANA_TO_KATAKANA: Final = 0x60
APOSTROPHES: Final = "'\u2019"
SPOKEN_SIGNS: Final = frozenset("%&@#")  # punctuation to Unicode, words to a reader

# A script without spaces has a word for each character; marks that continue or close one stay with it.
_UNSPACED = "\u3041-\u3096\u30a1-\u30fa\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_CLINGING = (
    "\u3001-\u3003\u3005\u300d\u300f\u3011\u3083\u3085\u3087\u30e3\u30e5\u30e7\u30fc"
    "\uff01\uff09\uff0c\uff0e\uff1a\uff1b\uff1f"
)
_WORD = re.compile(rf"\s*(?:[{_UNSPACED}][{_CLINGING}]*|[^\s{_UNSPACED}]+)")


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


def moved(word: Word, seconds: float) -> Word:
    """The word, that much later."""
    return msgspec.structs.replace(
        word, start_seconds=word.start_seconds + seconds, end_seconds=word.end_seconds + seconds
    )


class Sound(NamedTuple):
    """When a word's letters fire, and how sure they are."""

    start_seconds: float
    stop_seconds: float
    probability: float


class _Unit(NamedTuple):
    """Words aligned together and their labels: one word and its letters, or unspellable words and `ANYTHING`."""

    words: list[int]
    labels: tuple[int, ...]


def split_words(text: str) -> list[str]:
    """The words of `text`, each with the white space before it; joined they are `text`. Blank text has none."""
    words = [match.group() for match in _WORD.finditer(text)]
    if words:
        words[-1] += text[sum(map(len, words)) :]
    return words


def spell(word: str, *, katakana: bool) -> tuple[int, ...] | None:
    """The labels of a word's letters; none for a word without sound, `None` for one the head cannot spell.

    Case, full-width forms and marks fall away; kana is spelled as katakana, where the head has it.
    """
    labels: list[int] = []
    for character in unicodedata.normalize("NFKC", word).lower():
        if (label := _letter(character, katakana=katakana)) is not None:
            labels.append(label)
        elif character in SPOKEN_SIGNS or unicodedata.category(character)[0] in "LNS":
            return None
    return tuple(labels)


def _letter(character: str, *, katakana: bool) -> int | None:
    """The label of a lower-case character."""
    code = ord(character)
    if character in APOSTROPHES:
        return ord("'")
    if "a" <= character <= "z" or (code in SMALL_LATIN and character.isalpha()):
        return code
    if code in HIRAGANA:
        code += HIRAGANA_TO_KATAKANA
    if code in KATAKANA:
        return FIRST_KATAKANA + code - KATAKANA_BASE if katakana else None
    base = unicodedata.normalize("NFD", character)[0]
    return ord(base) if "a" <= base <= "z" else None


def align_words(
    text: str,
    log_probs: LogProbs,
    *,
    duration_seconds: float,
    bias_seconds: float,
    levels: Levels | None = None,
    frame_seconds: float = FRAME_SECONDS,
) -> tuple[Word, ...]:
    """The words of `text` with the times at which the head hears them.

    Args:
        text: What was said, in any case, script and punctuation.
        log_probs: float32 [frames, labels] of the grapheme head over the same audio.
        duration_seconds: Length of the audio; no time lies behind it.
        bias_seconds: How late the head fires.
        levels: Of the same audio; without them a word before a pause is given a usual length.
        frame_seconds: Length of a frame.
    """
    words = split_words(text)
    units = _units(words, katakana=log_probs.shape[1] > FIRST_KATAKANA)
    labels, firsts = _labels(words, units)
    spans = align(log_probs, labels) if units else None
    if spans is None:
        return spread_words(text, 0.0, duration_seconds)
    sounds: list[Sound | None] = [None] * len(words)
    for unit, first in zip(units, firsts, strict=True):
        heard = _sound(spans[first : first + len(unit.labels)], unit, log_probs, frame_seconds)
        shares = _shared(heard, [len(words[word]) for word in unit.words])
        for word, share in zip(unit.words, shares, strict=True):
            sounds[word] = share
    return time_words(
        words, sounds, duration_seconds=duration_seconds, bias_seconds=bias_seconds, levels=levels
    )


def _units(words: Sequence[str], *, katakana: bool) -> list[_Unit]:
    units: list[_Unit] = []
    for index, word in enumerate(words):
        labels = spell(word, katakana=katakana)
        if labels is None and units and units[-1].labels == (ANYTHING,):
            units[-1].words.append(index)
        elif labels != ():
            units.append(_Unit([index], (ANYTHING,) if labels is None else labels))
    return units


def _labels(words: Sequence[str], units: Sequence[_Unit]) -> tuple[list[int], list[int]]:
    """All labels, spaces between spelled words included, and where each unit's begin."""
    labels: list[int] = []
    firsts: list[int] = []
    for before, unit in zip([None, *units], units, strict=False):
        if before is not None and _is_space_heard(words, before, unit):
            labels.append(SPACE)
        firsts.append(len(labels))
        labels += unit.labels
    return labels, firsts


def _is_space_heard(words: Sequence[str], before: _Unit, unit: _Unit) -> bool:
    """Whether the head marks a space between two units: beside `ANYTHING` that takes it in."""
    if ANYTHING in (*before.labels, *unit.labels):
        return False
    return any(words[index][0].isspace() for index in range(before.words[-1] + 1, unit.words[0] + 1))


def _sound(spans: Sequence[FrameSpan], unit: _Unit, log_probs: LogProbs, frame_seconds: float) -> Sound:
    start, stop = spans[0].start, spans[-1].stop
    if ANYTHING in unit.labels:
        voiced = start + np.flatnonzero(log_probs[start:stop].argmax(axis=1) != BLANK)
        start, stop = (int(voiced[0]), int(voiced[-1]) + 1) if len(voiced) else (start, stop)
    return Sound(start * frame_seconds, stop * frame_seconds, _probability(spans))


def _shared(sound: Sound, lengths: Sequence[int]) -> list[Sound]:
    """One sound shared out among words by their lengths."""
    total, start, stop = sum(lengths), sound.start_seconds, sound.stop_seconds
    bounds = [min(stop, start + (stop - start) * part / total) for part in accumulate(lengths, initial=0)]
    return [Sound(begin, end, sound.probability) for begin, end in pairwise(bounds)]


def time_words(
    words: Sequence[str],
    sounds: Sequence[Sound | None],
    *,
    duration_seconds: float,
    bias_seconds: float,
    levels: Levels | None = None,
) -> tuple[Word, ...]:
    """Words with times that never overlap, from when their letters fire; `None` for a word without sound.

    A CTC head marks letters, not lengths: a word that another follows closely lasts until it, and one before a pause
    until its sound has faded, by the `levels` of the audio.
    """
    timed: list[Word] = []
    next_start = _starts(sounds, duration_seconds=duration_seconds, bias_seconds=bias_seconds)
    for index, (word, sound) in enumerate(zip(words, sounds, strict=True)):
        before = timed[-1].end_seconds if timed else None
        if sound is None:
            timed.append(_silent_word(word, before, next_start[index]))
            continue
        start = max(next_start[index] or 0.0, before or 0.0)
        end = _end(sound, start, next_start[index + 1], duration_seconds, levels)
        timed.append(
            Word(text=word, start_seconds=start, end_seconds=max(start, end), probability=sound.probability)
        )
    return tuple(timed)


def _starts(
    sounds: Sequence[Sound | None], *, duration_seconds: float, bias_seconds: float
) -> list[float | None]:
    """For each place, and for the end: when the first word with sound from there on starts."""
    starts: list[float | None] = [None]
    for sound in reversed(sounds):
        here = None if sound is None else max(sound.start_seconds - bias_seconds, 0.0)
        later = duration_seconds if starts[-1] is None else starts[-1]
        starts.append(starts[-1] if here is None else min(here, later, duration_seconds))
    return starts[::-1]


def _end(
    sound: Sound, start: float, next_start: float | None, duration_seconds: float, levels: Levels | None
) -> float:
    heard = sound.stop_seconds
    if next_start is not None and next_start - heard <= JOINED_SECONDS:
        return next_start
    faded = None if levels is None else fading_seconds(levels, start, heard)
    end = heard + TAIL_SECONDS if faded is None else faded
    return min(end, duration_seconds if next_start is None else next_start)


def _silent_word(text: str, before: float | None, next_start: float | None) -> Word:
    """A word that takes the gap between its neighbours, and no time at either end of the text."""
    start = before if before is not None else next_start or 0.0
    end = start if before is None or next_start is None else max(start, next_start)
    return Word(text=text, start_seconds=start, end_seconds=end, probability=1.0)


def spread_words(text: str, start_seconds: float, end_seconds: float) -> tuple[Word, ...]:
    """The words of `text` shared out over a stretch by their lengths, with probability 0: nobody heard when."""
    words = split_words(text)
    sounds = _shared(Sound(start_seconds, end_seconds, 0.0), [len(word) for word in words]) if words else []
    return tuple(
        Word(text=word, start_seconds=sound.start_seconds, end_seconds=sound.stop_seconds, probability=0.0)
        for word, sound in zip(words, sounds, strict=True)
    )


def spread_over_speech(text: str, log_probs: LogProbs, *, duration_seconds: float) -> tuple[Word, ...]:
    """The words of a text that was not said, as a translation: shared out from the first letter heard to the last.

    Args:
        text: The text.
        log_probs: float32 [frames, labels] of the grapheme head over the audio.
        duration_seconds: Length of the audio.
    """
    voiced = np.flatnonzero(log_probs.argmax(axis=1) != BLANK)
    if not len(voiced):
        return spread_words(text, 0.0, duration_seconds)
    start, stop = int(voiced[0]) * FRAME_SECONDS, (int(voiced[-1]) + 1) * FRAME_SECONDS
    return spread_words(text, min(start, duration_seconds), min(stop + TAIL_SECONDS, duration_seconds))


def group_tokens(
    text: str, token_stops: Sequence[int], spans: Sequence[FrameSpan], frame_seconds: float
) -> list[tuple[str, Sound | None]]:
    """The words of a text that a CTC head wrote itself, token by token, with the frames of their tokens.

    Args:
        text: The tokens' text.
        token_stops: For each token the first character of `text` behind it.
        spans: For each token its frames.
        frame_seconds: Length of a frame.
    """
    words = split_words(text)
    stops = list(accumulate(map(len, words)))
    token_starts = [0, *token_stops]
    grouped: list[tuple[str, Sound | None]] = []
    for word, stop in zip(words, stops, strict=True):
        first_letter = stop - len(word.lstrip())
        own = [
            span
            for span, begin, end in zip(spans, token_starts, token_stops, strict=False)
            if begin < stop and end > first_letter
        ]
        grouped.append((word, _token_sound(own, frame_seconds) if own else None))
    return grouped


def _token_sound(spans: Sequence[FrameSpan], frame_seconds: float) -> Sound:
    return Sound(spans[0].start * frame_seconds, spans[-1].stop * frame_seconds, _probability(spans))


def _probability(spans: Sequence[FrameSpan]) -> float:
    return math.exp(min(sum(span.score for span in spans) / len(spans), 0.0))
