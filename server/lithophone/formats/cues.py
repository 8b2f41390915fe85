"""What is on screen when: subtitle cues out of timed words.

Owns the limits of a cue (two lines of 42 characters, seven seconds) and where one ends: at a sentence, a pause, a
comma. Pure: knows no subtitle format.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Final, NamedTuple

import msgspec

from lithophone.engine.segmentation import ends_sentence
from lithophone.engine.transcript import Segment
from lithophone.formats.times import milliseconds
from lithophone.granite.words import Word, spread_words

LINE_CHARACTERS: Final = 42
LINES: Final = 2
LONGEST_SECONDS: Final = 7.0
SHORTEST_MS: Final = 1000  # where the next cue leaves room; an eye needs about as long

# What a break costs, in shares of the cue it would leave unbalanced.
SENTENCE_BONUS: Final = 0.6
CLAUSE_BONUS: Final = 0.3
PAUSE_BONUS_PER_SECOND: Final = 1.0
MOST_PAUSE_SECONDS: Final = 0.6
CLAUSE_ENDS: Final = (",", ";", ":", "\u3001", "\uff0c", "\u2014")


class Cue(NamedTuple):
    """One or two lines of text on screen from `start_ms` up to `end_ms`."""

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]


def cues(segments: Iterable[Segment]) -> Iterator[Cue]:
    """Cues in order: none overlaps another, none is empty, each keeps the limits and lasts a millisecond at least."""
    groups = (group for segment in segments for group in _groups(_pieces(segment)))
    waiting: Cue | None = None
    for group in groups:
        cue = _cue(group, 0 if waiting is None else waiting.end_ms)
        if waiting is not None:
            yield _lengthened(waiting, cue.start_ms)
        waiting = cue
    if waiting is not None:
        yield _lengthened(waiting, waiting.start_ms + SHORTEST_MS)


def _pieces(segment: Segment) -> list[Word]:
    """The segment's words, those longer than a line in pieces; a segment without word times shares out its own."""
    words = segment.words or spread_words(segment.text, segment.start_seconds, segment.end_seconds)
    return [piece for word in words for piece in _broken(word)]


def _broken(word: Word) -> list[Word]:
    text = word.text.strip()
    if len(text) <= LINE_CHARACTERS:
        return [word]
    space = word.text[: len(word.text) - len(word.text.lstrip())]
    parts = [text[start : start + LINE_CHARACTERS] for start in range(0, len(text), LINE_CHARACTERS)]
    parts_and_space = [space + parts[0], *parts[1:]]
    seconds = (word.end_seconds - word.start_seconds) / len(text)
    starts = [word.start_seconds + seconds * at for at in accumulate(map(len, parts), initial=0)]
    return [
        msgspec.structs.replace(word, text=part, start_seconds=start, end_seconds=end)
        for part, (start, end) in zip(parts_and_space, pairwise(starts), strict=True)
    ]


def _groups(words: Sequence[Word]) -> Iterator[Sequence[Word]]:
    """The words of each cue: halves of halves, until all fit."""
    if not words:
        return
    if len(words) == 1 or _fits(words):
        yield words
        return
    cut = min(range(1, len(words)), key=lambda index: _cost(words, index))
    yield from _groups(words[:cut])
    yield from _groups(words[cut:])


def _fits(words: Sequence[Word]) -> bool:
    if words[-1].end_seconds - words[0].start_seconds > LONGEST_SECONDS:
        return False
    lines = _lines(words)
    return len(lines) <= LINES and all(len(line) <= LINE_CHARACTERS for line in lines)


def _cost(words: Sequence[Word], index: int) -> float:
    """How bad a break before `words[index]` is: unbalanced is bad; a sentence, a comma or a pause makes up for it."""
    before, behind = words[index - 1], words[index]
    sizes = len(_text(words[:index])), len(_text(words[index:]))
    pause_seconds = min(max(behind.start_seconds - before.end_seconds, 0.0), MOST_PAUSE_SECONDS)
    bonus = PAUSE_BONUS_PER_SECOND * pause_seconds
    if ends_sentence(before.text):
        bonus += SENTENCE_BONUS
    elif before.text.rstrip().endswith(CLAUSE_ENDS):
        bonus += CLAUSE_BONUS
    return abs(sizes[0] - sizes[1]) / sum(sizes) - bonus


def _text(words: Sequence[Word]) -> str:
    return " ".join("".join(word.text for word in words).split())


def _lines(words: Sequence[Word]) -> tuple[str, ...]:
    """One line, or the two that are most alike in length."""
    text = _text(words)
    if len(text) <= LINE_CHARACTERS or len(words) == 1:
        return (text,)
    pairs = [(_text(words[:index]), _text(words[index:])) for index in range(1, len(words))]
    return min(pairs, key=lambda pair: max(len(pair[0]), len(pair[1])))


def _cue(words: Sequence[Word], earliest_ms: int) -> Cue:
    start_ms = max(milliseconds(words[0].start_seconds), earliest_ms)
    last_ms = start_ms + milliseconds(LONGEST_SECONDS)
    end_ms = min(max(milliseconds(words[-1].end_seconds), start_ms + 1), last_ms)
    return Cue(start_ms, end_ms, _lines(words))


def _lengthened(cue: Cue, latest_ms: int) -> Cue:
    """The cue, on screen for as long as an eye needs, but not past `latest_ms`."""
    return cue._replace(end_ms=max(cue.end_ms, min(cue.start_ms + SHORTEST_MS, latest_ms)))
