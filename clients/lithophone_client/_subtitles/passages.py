"""Words in a row, and how long any part of them is when it is written.

Owns the arithmetic: one text, in which the text of every part is a slice, so that a length is a difference and nothing is
joined to be measured. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from lithophone_client._subtitles.words import Word


class Part(NamedTuple):
    """The words of a passage from `start` up to and without `stop`, at least one."""

    start: int
    stop: int


class Passage:
    """Words that follow one another. Written, white space between them is one space, and there is none at the ends."""

    def __init__(self, words: Sequence[Word]) -> None:
        self.words = words
        whole = "".join(word.text for word in words)
        self._text = " ".join(whole.split())
        self._starts: list[int] = []  # for each word, where in the text a part that starts with it does
        self._stops = [0]  # for each word and the end, where a part that stops before it does
        place = 0
        for word in words:
            self._add(word, joined=not any(map(str.isspace, whole[max(place - 1, 0) : place + 1])))
            place += len(word.text)

    def _add(self, word: Word, *, joined: bool) -> None:
        """Take in the next word, which no white space parts from the one before if it is `joined`."""
        written = self._stops[-1]
        start = written + 1 if written and not joined else written
        own = " ".join(word.text.split())
        self._starts.append(start)
        self._stops.append(start + len(own) if own else written)

    def text(self, part: Part) -> str:
        """The part as it is written."""
        return self._text[self._starts[part.start] : self._stops[part.stop]]

    def characters(self, start: int, stop: int) -> int:
        """Length of the text of the words from `start` up to and without `stop`; 0 for white space alone."""
        return max(0, self._stops[stop] - self._starts[start])

    def seconds(self, part: Part) -> float:
        """From the start of its first word to the end of its last."""
        return self.words[part.stop - 1].end_seconds - self.words[part.start].start_seconds

    def filled(self, part: Part, width: int) -> list[Part]:
        """The part in lines of at most `width` characters, filled from the last one; only a word alone may be longer."""
        lines: list[Part] = []
        stop = part.stop
        for start in range(part.stop - 1, part.start, -1):
            if self.characters(start - 1, stop) > width:
                lines.append(Part(start, stop))
                stop = start
        return [Part(part.start, stop), *reversed(lines)]
