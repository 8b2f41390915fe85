"""From an answer to the timed segments that subtitles are made of. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from lithophone_client._subtitles.words import Segment, Word


class Stretch(Protocol):
    """A segment of an answer, whoever said it."""

    @property
    def start(self) -> float:
        """In seconds."""
        ...

    @property
    def end(self) -> float:
        """In seconds."""
        ...

    @property
    def text(self) -> str:
        """What was said."""
        ...


class Whole(NamedTuple):
    """A transcript as one stretch."""

    start: float
    end: float
    text: str


class Said(Protocol):
    """A word of an answer."""

    @property
    def word(self) -> str:
        """Without white space around it."""
        ...

    @property
    def start(self) -> float:
        """In seconds."""
        ...

    @property
    def end(self) -> float:
        """In seconds."""
        ...

    @property
    def probability(self) -> float | None:
        """Where the server tells it."""
        ...


def timed_segments(stretches: Sequence[Stretch], words: Sequence[Said] = ()) -> list[Segment]:
    """The segments with their words, each of which gets the white space that its text has before it.

    Args:
        stretches: Segments in their order.
        words: All words in theirs; none, and the segments have none.
    """
    row = _Row(words)
    return [
        Segment(
            start_seconds=stretch.start,
            end_seconds=stretch.end,
            text=stretch.text,
            words=tuple(row.of(stretch.text)),
        )
        for stretch in stretches
    ]


class _Row:
    """Words in a row, handed out text by text."""

    def __init__(self, words: Sequence[Said]) -> None:
        self._words = list(reversed(words))

    def of(self, text: str) -> Iterator[Word]:
        """The words that make the text up, from the first that was not handed out yet."""
        place = 0
        while self._words:
            said = self._words[-1]
            start = text.find(said.word, place)
            if start < 0 or text[place:start].strip():
                return
            self._words.pop()
            yield Word(
                text=text[place:start] + said.word,
                start_seconds=said.start,
                end_seconds=said.end,
                probability=said.probability,
            )
            place = start + len(said.word)
