from __future__ import annotations

from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from lithophone.backends.answers.tokens import token_stops

PIECES = st.lists(st.text(alphabet="ab ", min_size=1, max_size=4), max_size=12)


def stops(words: list[str], pieces: list[str]) -> tuple[int, ...]:
    return token_stops([len(word) for word in words], list(accumulate(pieces, initial="")))


def test_a_word_ends_with_its_last_token() -> None:
    assert stops(["hello", " there", " you"], ["hel", "lo", " there", " y", "ou"]) == (2, 3, 5)


def test_words_that_share_a_token_end_together() -> None:
    assert stops(["今", "日", "は"], ["今日", "は"]) == (1, 1, 2)
    assert stops(["a", "b", "c"], ["abc"]) == (1, 1, 1)


def test_half_a_character_is_not_yet_the_character() -> None:
    written = ["", "\ufffd", "\ufffd", "今", "今\ufffd", "今日"]
    assert token_stops([1, 1], written) == (3, 5)


def test_no_words_have_no_tokens() -> None:
    assert token_stops([], [""]) == ()


@given(PIECES)
def test_stops_never_go_back_and_the_last_is_behind_all_that_is_written(pieces: list[str]) -> None:
    text = "".join(pieces)
    words = [text[start : start + 3] for start in range(0, len(text), 3)]
    found = stops(words, pieces)
    assert list(found) == sorted(found)
    assert not words or found[-1] == len(pieces)
    for stop, end in zip(found, accumulate(map(len, words)), strict=True):
        assert len("".join(pieces[:stop])) >= end
