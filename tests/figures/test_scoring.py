"""The figures' own arithmetic."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from lithophone.bench.report import edit_distance
from tests.figures.scoring import Errors, Pair, align, count, normalised


class Timed(NamedTuple):
    text: str
    middle: float


def timed(text: str, start: float = 0.0) -> list[Timed]:
    return [Timed(word, start + place) for place, word in enumerate(text.split())]


letters = st.lists(st.sampled_from("abc"), max_size=12).map(" ".join)


@given(letters, letters)
def test_an_alignment_has_as_few_errors_as_there_can_be(said: str, heard: str) -> None:
    reference, hypothesis = timed(said), timed(heard)
    pairs = align(reference, hypothesis, slack_seconds=100)
    assert [pair.reference for pair in pairs if pair.reference is not None] == list(range(len(reference)))
    assert [pair.hypothesis for pair in pairs if pair.hypothesis is not None] == list(range(len(hypothesis)))
    assert count(pairs, reference, hypothesis).total == edit_distance(said.split(), heard.split())


def test_of_two_places_for_an_added_word_the_one_in_time_is_taken() -> None:
    reference = [Timed("one", 1.0), Timed("two", 2.0)]
    hypothesis = [Timed("one", 0.2), Timed("one", 1.0), Timed("two", 2.0)]
    assert align(reference, hypothesis) == [Pair(None, 0), Pair(0, 1), Pair(1, 2)]


def test_words_far_apart_are_no_match() -> None:
    reference, hypothesis = [Timed("one", 1.0)], [Timed("one", 50.0)]
    assert count(align(reference, hypothesis), reference, hypothesis) == Errors(0, 1, 1, 1)


def test_spelling_does_not_count() -> None:
    assert normalised("It\u2019s One -- O'Clock.") == ["it", "s", "one", "o'clock"]
