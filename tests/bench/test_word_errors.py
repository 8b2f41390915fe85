from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithophone.bench.report import edit_distance, word_error_rate

letters = st.text("abc", max_size=9)


@cache
def by_definition(wanted: str, got: str) -> int:
    if not wanted or not got:
        return len(wanted) + len(got)
    return min(
        by_definition(wanted[1:], got) + 1,
        by_definition(wanted, got[1:]) + 1,
        by_definition(wanted[1:], got[1:]) + (wanted[0] != got[0]),
    )


@given(letters, letters)
def test_the_distance_is_the_one_defined(wanted: str, got: str) -> None:
    assert edit_distance(wanted, got) == edit_distance(list(got), list(wanted)) == by_definition(wanted, got)


def test_word_errors_ignore_case_and_punctuation_and_clips_without_a_transcript() -> None:
    assert word_error_rate(["one two", None], ["One, three.", "anything"]) == 0.5
    assert word_error_rate(["one two three"], ["one two two three"]) == pytest.approx(1 / 3)
    assert word_error_rate([None], ["anything"]) is None
