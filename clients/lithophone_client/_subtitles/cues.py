"""What is on screen when: subtitle cues out of timed words.

Owns the limits of a cue and where one ends: at a sentence, a pause, a comma. Pure: knows no subtitle format. The cost of
it grows with the number of words, however long they go on without a pause.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Final, NamedTuple

import msgspec

from lithophone_client._subtitles.passages import Part, Passage
from lithophone_client._subtitles.times import milliseconds
from lithophone_client._subtitles.words import Segment, Word, ends_sentence, spread_words

SHORTEST_MS: Final = 1000  # where the next cue leaves room; an eye needs about as long

# What a break costs, in shares of the cue it would leave unbalanced.
SENTENCE_BONUS: Final = 0.6
CLAUSE_BONUS: Final = 0.3
PAUSE_BONUS_PER_SECOND: Final = 1.0
MOST_PAUSE_SECONDS: Final = 0.6
CLAUSE_ENDS: Final = (",", ";", ":", "\u3001", "\uff0c", "\u2014")


class CueLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How much one cue may hold: characters of a line, lines, and seconds on screen; each more than 0."""

    line_characters: int = 42
    lines: int = 2
    longest_seconds: float = 7.0

    @property
    def characters(self) -> int:
        """The longest text of a cue: full lines, and the space that each break stands for."""
        return self.lines * (self.line_characters + 1) - 1

    @property
    def longest_ms(self) -> int:
        """On screen."""
        return milliseconds(self.longest_seconds)


USUAL_LIMITS: Final = CueLimits()


class Cue(NamedTuple):
    """Lines of text on screen from `start_ms` up to `end_ms`."""

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]


def cues(segments: Iterable[Segment], limits: CueLimits = USUAL_LIMITS) -> Iterator[Cue]:
    """Cues in order: none overlaps another, none is empty, each keeps the limits and lasts a millisecond at least."""
    waiting: Cue | None = None
    for segment in segments:
        passage = Passage(_pieces(segment, limits.line_characters))
        for part in _parts(passage, limits):
            cue = _cue(passage, part, limits, 0 if waiting is None else waiting.end_ms)
            if waiting is not None:
                yield _lengthened(waiting, cue.start_ms, limits)
            waiting = cue
    if waiting is not None:
        yield _lengthened(waiting, waiting.start_ms + SHORTEST_MS, limits)


def _pieces(segment: Segment, line_characters: int) -> list[Word]:
    """The segment's words, those longer than a line in pieces; a segment without word times shares out its own."""
    words = segment.words or spread_words(segment.text, segment.start_seconds, segment.end_seconds)
    return [piece for word in words for piece in _broken(word, line_characters)]


def _broken(word: Word, line_characters: int) -> list[Word]:
    text = word.text.strip()
    if len(text) <= line_characters:
        return [word]
    space = word.text[: len(word.text) - len(word.text.lstrip())]
    parts = [text[start : start + line_characters] for start in range(0, len(text), line_characters)]
    parts_and_space = [space + parts[0], *parts[1:]]
    seconds = (word.end_seconds - word.start_seconds) / len(text)
    starts = [word.start_seconds + seconds * at for at in accumulate(map(len, parts), initial=0)]
    return [
        msgspec.structs.replace(word, text=part, start_seconds=start, end_seconds=end)
        for part, (start, end) in zip(parts_and_space, pairwise(starts), strict=True)
    ]


def _parts(passage: Passage, limits: CueLimits) -> Iterator[Part]:
    """The words of each cue: halves of halves, until all fit. Those that are white space alone have none."""
    bonuses = [0.0, *(_bonus(before, behind) for before, behind in pairwise(passage.words))]
    waiting = [Part(0, len(passage.words))] if passage.words else []
    while waiting:
        part = waiting.pop()
        if part.stop - part.start > 1 and not _fits(passage, part, limits):
            cut = _cut(passage, part, bonuses)
            waiting += Part(cut, part.stop), Part(part.start, cut)
        elif passage.characters(*part):
            yield part


def _fits(passage: Passage, part: Part, limits: CueLimits) -> bool:
    if passage.seconds(part) > limits.longest_seconds or passage.characters(*part) > limits.characters:
        return False
    return len(passage.filled(part, limits.line_characters)) <= limits.lines


def _bonus(before: Word, behind: Word) -> float:
    """What a break between two words has for it: a sentence, a comma, a pause."""
    pause_seconds = min(max(behind.start_seconds - before.end_seconds, 0.0), MOST_PAUSE_SECONDS)
    bonus = PAUSE_BONUS_PER_SECOND * pause_seconds
    if ends_sentence(before.text):
        return bonus + SENTENCE_BONUS
    return bonus + CLAUSE_BONUS if before.text.rstrip().endswith(CLAUSE_ENDS) else bonus


def _cut(passage: Passage, part: Part, bonuses: Sequence[float]) -> int:
    """The word to break before: unbalanced halves are bad, a bonus makes up for it."""

    def cost(index: int) -> float:
        sizes = passage.characters(part.start, index), passage.characters(index, part.stop)
        return abs(sizes[0] - sizes[1]) / max(sum(sizes), 1) - bonuses[index]

    return min(range(part.start + 1, part.stop), key=cost)


def _lines(passage: Passage, part: Part, limits: CueLimits) -> tuple[str, ...]:
    """As few lines as hold the part, the longest of them as short as can be."""
    count = len(passage.filled(part, limits.line_characters))
    narrowest = -(-(passage.characters(*part) + 1) // count) - 1  # all lines alike, breaks in place of spaces
    fillings = (passage.filled(part, width) for width in range(narrowest, limits.line_characters + 1))
    return tuple(passage.text(line) for line in next(lines for lines in fillings if len(lines) == count))


def _cue(passage: Passage, part: Part, limits: CueLimits, earliest_ms: int) -> Cue:
    start_ms = max(milliseconds(passage.words[part.start].start_seconds), earliest_ms)
    last_ms = start_ms + limits.longest_ms
    end_ms = min(max(milliseconds(passage.words[part.stop - 1].end_seconds), start_ms + 1), last_ms)
    return Cue(start_ms, end_ms, _lines(passage, part, limits))


def _lengthened(cue: Cue, latest_ms: int, limits: CueLimits) -> Cue:
    """The cue, on screen for as long as an eye needs, but not past `latest_ms`."""
    shortest_ms = min(SHORTEST_MS, limits.longest_ms)
    return cue._replace(end_ms=max(cue.end_ms, min(cue.start_ms + shortest_ms, latest_ms)))
