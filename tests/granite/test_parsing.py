from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithophone.granite.parsing import (
    MOST_SPEAKERS,
    SpeakerTurn,
    TaggedWord,
    parse_speakers,
    parse_word_times,
)

words_ = st.text("abcé'", min_size=1, max_size=6)


def ends(text: str) -> list[tuple[str, float]]:
    return [(word.text, word.end_seconds) for word in parse_word_times(text)]


@given(st.lists(st.tuples(words_, st.integers(0, 890)), max_size=80), st.booleans())
def test_times_read_back_past_every_wrap(said: list[tuple[str, int]], spaced: bool) -> None:
    clock, expected, text = 0, list[tuple[str, float]](), ""
    for (
        word,
        centiseconds,
    ) in said:  # a silence of nine seconds or more cannot be told from one ten seconds shorter
        clock += centiseconds
        expected.append((word, clock / 100))
        text += f"{word} [T:{clock % 1000}] " if spaced else f"{word}[T:{clock % 1000}]"
    assert ends(text) == expected


def test_words_start_where_the_last_tag_was_and_silence_is_no_word() -> None:
    assert parse_word_times("hello [T:45] _ [T:120] world [T:150]") == [
        TaggedWord(text="hello", start_seconds=0, end_seconds=0.45),
        TaggedWord(text="world", start_seconds=1.2, end_seconds=1.5),
    ]


def test_words_without_spaces_are_told_apart_by_their_tags() -> None:
    assert ends("if[T:62]you[T:70]") == [("if", 0.62), ("you", 0.7)]


def test_tags_are_read_as_loosely_as_ibms_own_parser_reads_them() -> None:
    assert ends("if [T: +62 ] you [t:70.0]") == [("if", 0.62), ("you", 0.7)]
    assert ends("so [T:200] it [T:-3] is [T:250]") == [("so", 2.0), ("it", 2.0), ("is", 2.5)]
    assert parse_speakers("[Speaker  1] hello [speaker 2]: yes") == [
        SpeakerTurn(speaker=1, text="hello"),
        SpeakerTurn(speaker=2, text="yes"),
    ]


@pytest.mark.parametrize(
    ("text", "speakers"),
    [
        ("[Speaker A]: a [Speaker B]: b [Speaker a] c", [1, 2, 1]),
        ("[Speaker 2]: a [Speaker the host]: b [speaker  the  host ]: c", [2, 3]),
        ("[Speaker 0]: a [Speaker 1]: b [Speaker 99999999999999]: c", [2, 1, 3]),
    ],
)
def test_a_speaker_may_have_any_name(text: str, speakers: list[int]) -> None:
    assert [turn.speaker for turn in parse_speakers(text)] == speakers


@given(st.text(st.sampled_from("[Speaker 019ab]: "), max_size=80))
def test_whatever_the_model_writes_speakers_are_few_and_counted_from_one(text: str) -> None:
    numbers = {turn.speaker for turn in parse_speakers(text) if turn.speaker is not None}
    assert all(1 <= number <= MOST_SPEAKERS + len(numbers) for number in numbers)


def test_a_wrap_is_followed_and_a_slip_is_not() -> None:
    assert ends("a [T:980] b [T:30] c [T:990] d [T:985] e [T:10]") == [
        ("a", 9.8),
        ("b", 10.3),
        ("c", 19.9),
        ("d", 19.9),
        ("e", 20.1),
    ]


def test_words_that_share_a_tag_share_its_time() -> None:
    assert ends("ab cd [T:80] tail") == [("ab", 0.4), ("cd", 0.8), ("tail", 0.8)]


@given(st.text(st.sampled_from("ab[]T:09_ "), max_size=60))
def test_whatever_the_model_writes_times_never_run_backwards(text: str) -> None:
    words = parse_word_times(text)
    bounds = [bound for word in words for bound in (word.start_seconds, word.end_seconds)]
    assert bounds == sorted(bounds)


@given(st.lists(st.tuples(st.integers(1, 4), st.lists(words_, min_size=1, max_size=4)), max_size=10))
def test_turns_read_back(said: list[tuple[int, list[str]]]) -> None:
    text = " ".join(f"[Speaker {speaker}]: {' '.join(words)}" for speaker, words in said)
    turns = parse_speakers(text)
    assert [(turn.speaker, word) for turn in turns for word in turn.text.split()] == [
        (speaker, word) for speaker, words in said for word in words
    ]
    assert all(turn.speaker != after.speaker for turn, after in itertools.pairwise(turns))


@pytest.mark.parametrize(
    ("text", "turns"),
    [
        ("", []),
        ("no tags", [SpeakerTurn(speaker=None, text="no tags")]),
        (
            "so [Speaker 1]: yes[Speaker 2]:no",
            [
                SpeakerTurn(speaker=None, text="so"),
                SpeakerTurn(speaker=1, text="yes"),
                SpeakerTurn(speaker=2, text="no"),
            ],
        ),
        ("[Speaker 1]: [Speaker 2]: hi", [SpeakerTurn(speaker=2, text="hi")]),
    ],
)
def test_tags_may_stand_anywhere(text: str, turns: list[SpeakerTurn]) -> None:
    assert parse_speakers(text) == turns
