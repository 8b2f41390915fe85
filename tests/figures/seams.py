"""What the cuts between windows did to a transcript.

Owns the comparison of a long recording's transcript with those of its utterances alone, and which differences lie near a
cut. A word counts as lost if it is missing from the long transcript and not from the one of its utterance alone, as added if
an utterance has more words nobody said than it has alone, as changed if it was wrong in the long transcript only. It is near a
cut if it lies within a second of it or of the stretch that two windows share. Pure.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.figures.asking import HeardWord
from tests.figures.recording import KnownWord, Utterance
from tests.figures.scoring import Errors, Pair, align
from tests.figures.server import LoggedWindow

NEAR_SECONDS: Final = 1.0
EXAMPLES: Final = 40
WITHIN_WORD_SECONDS: Final = 0.03  # a cut this far inside a word went through it


@dataclass(frozen=True, slots=True)
class Seam:
    """Where one window ends and the next begins; the two are the same place unless they overlap."""

    start: float
    end: float

    @property
    def overlaps(self) -> bool:
        return self.end > self.start

    def is_near(self, seconds: float) -> bool:
        return self.start - NEAR_SECONDS <= seconds <= self.end + NEAR_SECONDS


def seams_of(windows: Sequence[LoggedWindow]) -> list[Seam]:
    """From the server's log lines."""
    return [
        Seam(window.start_seconds, window.start_seconds + window.shared_before_seconds)
        for window in windows[1:]
    ]


@dataclass(slots=True)
class Differences:
    """Words that differ between the long transcript and those of the utterances alone, with the first few as examples."""

    words: int = 0
    counts: Counter[str] = field(default_factory=Counter[str])
    examples: list[str] = field(default_factory=list[str])

    def add(self, said: KnownWord, long: HeardWord | None, alone: HeardWord | None) -> None:
        """A word somebody said, as it was heard in the long recording and alone."""
        self.words += 1
        right, right_alone = (heard is not None and heard.text == said.text for heard in (long, alone))
        if long is None and alone is not None:
            self.note(said, "lost")
        elif right_alone and not right:
            self.note(said, "changed")
        elif right and not right_alone:
            self.note(said, "mended")

    def note(self, word: KnownWord | HeardWord, what: str) -> None:
        """A difference."""
        self.counts[what] += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(f"{word.middle:.1f} s {what}: {word.text}")

    def __str__(self) -> str:
        told = ", ".join(f"{self.counts[what]} {what}" for what in ("lost", "added", "changed", "mended"))
        return f"{told} of {self.words} words"


@dataclass(frozen=True, slots=True)
class Comparison:
    """A long transcript beside those of its utterances alone.

    `paused` and `run_on` are the errors of the utterances with a pause on both sides and of the others, in the long
    recording and alone; `near` and `away` the differences near a cut and elsewhere; `cut_words` the cuts without overlap
    that went through a word whose times are known exactly, and `doubled_words` those said once and heard on both sides of a
    cut. Of the words that are right and whose times are known exactly,
    `time_errors` has the found minus the true starts and ends, and `last_word_errors` the last word's two.
    """

    long: Errors
    alone: Errors
    paused: tuple[Errors, Errors]
    run_on: tuple[Errors, Errors]
    near: Differences
    away: Differences
    cut_words: int
    doubled_words: int
    time_errors: list[float]
    last_word_errors: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class _Hearing:
    """How the words of an utterance were heard: for each what was, `None` if lost; and the words nobody said."""

    heard: list[HeardWord | None]
    added: list[HeardWord]

    def errors(self, said: Sequence[KnownWord]) -> Errors:
        wrong = sum(
            heard is not None and heard.text != word.text
            for word, heard in zip(said, self.heard, strict=True)
        )
        return Errors(wrong, self.heard.count(None), len(self.added), len(said))


def compare(
    utterances: Sequence[Utterance],
    heard: Sequence[HeardWord],
    alone: Sequence[Sequence[HeardWord]],
    seams: Sequence[Seam],
) -> Comparison:
    """Everything at once; `alone` has what was heard in each utterance sent by itself."""
    said = [word for utterance in utterances for word in utterance.words]
    pairs = align(said, heard)
    in_long = _hearings(utterances, pairs, heard)
    by_itself = _by_themselves(utterances, alone)
    tally = _Tally(seams)
    groups = {False: [Errors(), Errors()], True: [Errors(), Errors()]}
    closely = False
    for utterance, long, own in zip(utterances, in_long, by_itself, strict=True):
        tally.add(utterance.words, long, own)
        group = groups[closely or utterance.followed_closely]
        group[0] += long.errors(utterance.words)
        group[1] += own.errors(utterance.words)
        closely = utterance.followed_closely
    (paused, paused_alone), (run_on, run_on_alone) = groups[False], groups[True]
    errors, last = _time_errors(said, [word for hearing in in_long for word in hearing.heard])
    return Comparison(
        long=paused + run_on,
        alone=paused_alone + run_on_alone,
        paused=(paused, paused_alone),
        run_on=(run_on, run_on_alone),
        near=tally.near,
        away=tally.away,
        cut_words=_cut_words(said, seams),
        doubled_words=_doubled_words(pairs, heard, seams),
        time_errors=errors,
        last_word_errors=last,
    )


def errors_alone(utterances: Sequence[Utterance], alone: Sequence[Sequence[HeardWord]]) -> Errors:
    """Word errors of the utterances sent by themselves."""
    hearings = zip(utterances, _by_themselves(utterances, alone), strict=True)
    return sum((hearing.errors(utterance.words) for utterance, hearing in hearings), Errors())


def _by_themselves(utterances: Sequence[Utterance], alone: Sequence[Sequence[HeardWord]]) -> list[_Hearing]:
    return [
        _hearings([utterance], align(utterance.words, words), words)[0]
        for utterance, words in zip(utterances, alone, strict=True)
    ]


def _hearings(
    utterances: Sequence[Utterance], pairs: Sequence[Pair], heard: Sequence[HeardWord]
) -> list[_Hearing]:
    """Per utterance; an added word belongs to the one whose word comes before it."""
    owners = [place for place, utterance in enumerate(utterances) for _ in utterance.words]
    hearings = [_Hearing([], []) for _ in utterances]
    owner = 0
    for pair in pairs:
        if pair.reference is not None:
            owner = owners[pair.reference]
            hearings[owner].heard.append(None if pair.hypothesis is None else heard[pair.hypothesis])
        elif pair.hypothesis is not None:
            hearings[owner].added.append(heard[pair.hypothesis])
    return hearings


class _Tally:
    """Sorts differences by whether a cut is near."""

    def __init__(self, seams: Sequence[Seam]) -> None:
        self.near, self.away = Differences(), Differences()
        self._by_second: dict[int, list[Seam]] = {}
        for seam in seams:
            for second in range(int(seam.start - NEAR_SECONDS) - 1, int(seam.end + NEAR_SECONDS) + 2):
                self._by_second.setdefault(second, []).append(seam)

    def add(self, said: Sequence[KnownWord], long: _Hearing, own: _Hearing) -> None:
        """One utterance; words it has alone that nobody said explain those added away from cuts first."""
        for word, heard, heard_alone in zip(said, long.heard, own.heard, strict=True):
            self._side(word.middle).add(word, heard, heard_alone)
        for word in sorted(long.added, key=self._is_near)[len(own.added) :]:
            self._side(word.middle).note(word, "added")

    def _side(self, moment: float) -> Differences:
        return (
            self.near
            if any(seam.is_near(moment) for seam in self._by_second.get(int(moment), ()))
            else self.away
        )

    def _is_near(self, word: HeardWord) -> bool:
        return self._side(word.middle) is self.near


def _cut_words(said: Sequence[KnownWord], seams: Sequence[Seam]) -> int:
    cuts = [seam.start for seam in seams if not seam.overlaps]
    exact = [word for word in said if word.exact]
    starts = [word.start for word in exact]
    return sum(
        exact[place].start + WITHIN_WORD_SECONDS < cut < exact[place].end - WITHIN_WORD_SECONDS
        for cut in cuts
        if (place := bisect_right(starts, cut) - 1) >= 0
    )


def _doubled_words(pairs: Sequence[Pair], heard: Sequence[HeardWord], seams: Sequence[Seam]) -> int:
    """Words on either side of a cut that are the same, where not both were said."""
    said = {pair.hypothesis for pair in pairs if pair.reference is not None}
    middles = [word.middle for word in heard]
    count = 0
    for seam in seams:
        after = bisect_right(middles, (seam.start + seam.end) / 2)
        same = 0 < after < len(heard) and heard[after - 1].text == heard[after].text
        count += same and not {after - 1, after} <= said
    return count


def _time_errors(
    said: Sequence[KnownWord], heard: Sequence[HeardWord | None]
) -> tuple[list[float], tuple[float, float] | None]:
    errors: list[float] = []
    last = None
    for word, found in zip(said, heard, strict=True):
        if found is None or not word.exact or found.text != word.text:
            continue
        last = (found.start - word.start, found.end - word.end)
        errors += last
    return errors, last
