"""What the plus model writes beside the words: `[T:N]` times and `[Speaker N]:` tags.

Owns reading them back, and writing speaker tags for a text to continue. Pure. Sources: the card of
granite-speech-4.1-2b-plus: N is the word's end in centiseconds and wraps each ten seconds, `_` stands for silence, and words
may stand without spaces between their tags; IBM's library (github.com/ibm-granite/granite-speech, `plus_output.py`): which
other spellings its parser takes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import accumulate, groupby, pairwise
from typing import Final

import msgspec

from lithophone.granite.words import Word, split_words

WRAP_CENTISECONDS: Final = 1000
LEAST_JUMP_CENTISECONDS: Final = 100  # a smaller step back is a slip, not a new round
SILENCE: Final = "_"

MOST_SPEAKERS: Final = 99
"""The highest number of a speaker that is taken as it is written."""

_TIME = re.compile(r"\[T:\s*([+-]?\d+)(?:\.\d+)?\s*\]", re.IGNORECASE)  # as tolerant as IBM's own parser
_SPEAKER = re.compile(r"\[Speaker\s+([^\]]+)\]\s*:?", re.IGNORECASE)


class TaggedWord(msgspec.Struct, frozen=True, kw_only=True):
    """A word with the times its tags give: from the tag before it to its own. Seconds from the audio's start."""

    text: str
    start_seconds: float
    end_seconds: float


class SpokenWords(msgspec.Struct, frozen=True):
    """A transcript without its speaker tags, and the number of the speaker of each of its words."""

    text: str
    speakers: tuple[int | None, ...]


class SpeakerTurn(msgspec.Struct, frozen=True, kw_only=True):
    """What one speaker says at a time. `speaker` is the tag's number, `None` for words before the first tag."""

    speaker: int | None
    text: str


def parse_word_times(text: str) -> list[TaggedWord]:
    """The words of a tagged transcript. Words that share a tag share its stretch by length; untagged ones get no time."""
    words: list[TaggedWord] = []
    clock = 0
    pieces = _TIME.split(text)
    for said, tag in zip(pieces[0::2], [*pieces[1::2], None], strict=True):
        end = clock if tag is None or tag.startswith("-") else unwrap(int(tag), clock)
        words += _share([word for word in said.split() if word != SILENCE], clock / 100, end / 100)
        clock = end
    return words


def has_word_times(text: str) -> bool:
    """Whether the model wrote any time at all."""
    return _TIME.search(text) is not None


def unwrap(tag: int, clock: int) -> int:
    """The time of a tag that wraps each ten seconds, in centiseconds: never before `clock`, the time of the one before."""
    rounds, within = divmod(clock, WRAP_CENTISECONDS)
    if within - tag >= LEAST_JUMP_CENTISECONDS:
        rounds += 1
    return max(rounds * WRAP_CENTISECONDS + tag, clock)


def _share(words: list[str], start_seconds: float, end_seconds: float) -> list[TaggedWord]:
    total = sum(map(len, words))
    seconds = end_seconds - start_seconds
    bounds = (
        [start_seconds + seconds * part / total for part in accumulate(map(len, words), initial=0)]
        if total
        else []
    )
    bounds[-1:] = [end_seconds] if bounds else []
    return [
        TaggedWord(text=word, start_seconds=start, end_seconds=end)
        for word, (start, end) in zip(words, pairwise(bounds), strict=True)
    ]


def parse_speakers(text: str) -> list[SpeakerTurn]:
    """The turns of a transcript with speaker tags; turns of one speaker in a row are one, empty ones none."""
    pieces = _SPEAKER.split(text)
    numbers = [None, *_numbers([" ".join(label.split()).casefold() for label in pieces[1::2]])]
    turns: list[SpeakerTurn] = []
    for speaker, said in zip(numbers, pieces[0::2], strict=True):
        words = " ".join(said.split())
        if not words:
            continue
        if turns and turns[-1].speaker == speaker:
            words = f"{turns.pop().text} {words}"
        turns.append(SpeakerTurn(speaker=speaker, text=words))
    return turns


def _numbers(labels: Sequence[str]) -> list[int]:
    """A number for each label: its own, if it is a likely one, else one above those that are there, by first appearance."""
    known = {label: int(label) for label in labels if _is_speaker_number(label)}
    for label in labels:
        known.setdefault(label, max(known.values(), default=0) + 1)
    return [known[label] for label in labels]


def _is_speaker_number(label: str) -> bool:
    return label.isdecimal() and len(label) <= len(str(MOST_SPEAKERS)) and int(label) > 0


def spoken_words(text: str) -> SpokenWords:
    """A transcript with speaker tags as plain text with a speaker for each word."""
    turns = parse_speakers(text)
    return SpokenWords(
        " ".join(turn.text for turn in turns),
        tuple(turn.speaker for turn in turns for _ in split_words(turn.text)),
    )


def tag_speakers(words: Iterable[Word]) -> str:
    """The words with a tag before each turn, as the model itself would write them."""
    turns: list[str] = []
    for speaker, said in groupby(words, key=lambda word: word.speaker):
        text = "".join(word.text for word in said).strip()
        turns.append(text if speaker is None else f"[Speaker {speaker}]: {text}")
    return " ".join(turns)


def timed_words(text: str, duration_seconds: float) -> tuple[Word, ...]:
    """The words of a transcript with time tags, within the length of the audio; joined they are its plain text."""
    tagged = parse_word_times(text)
    return tuple(
        Word(
            text=word.text if place == 0 else f" {word.text}",
            start_seconds=min(word.start_seconds, duration_seconds),
            end_seconds=min(word.end_seconds, duration_seconds),
        )
        for place, word in enumerate(tagged)
    )
