"""What counts as lost, doubled and changed."""

from __future__ import annotations

from pathlib import Path

from tests.figures.asking import HeardWord
from tests.figures.recording import Clip, KnownWord, Utterance
from tests.figures.seams import Comparison, Seam, compare, seams_of
from tests.figures.server import LoggedWindow

CLIP = Clip(Path("clip"), "a b c d")


def heard(text: str, start: float = 0.0) -> list[HeardWord]:
    return [HeardWord(word, start + place, start + place + 0.9) for place, word in enumerate(text.split())]


def compared(long: str, alone: str, *seams: Seam, start: float = 100.0) -> Comparison:
    words = tuple(
        KnownWord(word, start + place, start + place + 0.9) for place, word in enumerate(CLIP.text.split())
    )
    utterance = Utterance(CLIP, start, start, start + 4, words)
    return compare([utterance], heard(long, start), [heard(alone, start)], seams)


def test_a_word_lost_at_a_cut_is_told_from_one_lost_alone_too() -> None:
    cut = Seam(104.0, 104.0)
    assert compared("a b c", "a b c d", cut).near.counts == {"lost": 1}
    assert compared("a b c", "a b c", cut).near.counts == {}
    assert compared("a b c", "a b c d", Seam(50.0, 50.0)).away.counts == {"lost": 1}


def test_a_doubled_word_is_added_and_a_wrong_one_changed() -> None:
    assert compared("a b c d d", "a b c d", Seam(104.2, 104.2)).near.counts == {"added": 1}
    assert compared("a b c x", "a b c d", Seam(102.0, 104.0)).near.counts == {"changed": 1}
    assert compared("a b c d", "a b c x", Seam(102.0, 104.0)).near.counts == {"mended": 1}


def test_a_cut_through_a_word_is_counted() -> None:
    assert compared("a b c d", "a b c d", Seam(101.5, 101.5)).cut_words == 1
    assert compared("a b c d", "a b c d", Seam(100.95, 100.95)).cut_words == 0
    assert compared("a b c d", "a b c d", Seam(101.5, 103.0)).cut_words == 0


def test_a_word_said_once_and_heard_on_both_sides_of_a_cut_is_doubled() -> None:
    cut = Seam(101.95, 101.95)
    assert compared("a b b c d", "a b c d", cut).doubled_words == 1
    assert compared("a b c d", "a b c d", cut).doubled_words == 0
    assert compared("a b b c d", "a b c d", Seam(100.95, 100.95)).doubled_words == 0


def test_errors_and_times_are_those_of_the_long_transcript() -> None:
    comparison = compared("a b x d", "a b c d", Seam(50.0, 50.0))
    assert (comparison.long.total, comparison.alone.total) == (1, 0)
    assert comparison.time_errors == [0.0] * 6
    assert comparison.last_word_errors == (0, 0)


def test_seams_are_where_windows_begin() -> None:
    windows = [LoggedWindow(0.0, 8.0, 0.0), LoggedWindow(6.0, 12.0, 2.0), LoggedWindow(12.0, 20.0, 0.0)]
    assert seams_of(windows) == [Seam(6.0, 8.0), Seam(12.0, 12.0)]
