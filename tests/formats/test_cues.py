"""Subtitles: what a cue may hold, and that another parser reads what was written."""

from __future__ import annotations

import html
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import accumulate, pairwise
from typing import Any

import msgspec
import pysubs2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lithophone.engine.segmentation import split_segments
from lithophone.engine.transcript import Segment
from lithophone.formats.cues import USUAL_LIMITS, Cue, CueLimits, cues
from lithophone.formats.names import ResponseFormat
from lithophone.formats.rendering import RenderOptions, render
from lithophone.formats.subtitles import render_srt, render_vtt
from lithophone.granite.words import Word, spread_words
from tests.formats import plain_cues
from tests.formats.samples import TRANSCRIPT, segment
from tests.strategies import timed_words

HUNDRED_HOURS = 360_000.0


def with_words(words: list[Word]) -> list[Segment]:
    """Segments as the engine makes them."""
    segments: list[Segment] = []
    for number, group in enumerate(split_segments(words)):
        text = "".join(word.text for word in group).strip()
        bare = segment(number, group[0].start_seconds, group[-1].end_seconds, text)
        segments.append(msgspec.structs.replace(bare, words=group))
    return segments


@st.composite
def segment_lists(draw: st.DrawFn) -> list[Segment]:
    """With word times or without, anywhere in a hundred hours."""
    segments = with_words(draw(timed_words(longest_start_seconds=HUNDRED_HOURS - 200)))
    if draw(st.booleans()):
        segments = [msgspec.structs.replace(part, words=()) for part in segments]
    return segments


def letters(text: str) -> str:
    return "".join(text.split())


def check_limits(shown: list[Cue], limits: CueLimits = USUAL_LIMITS) -> None:
    for cue in shown:
        assert 1 <= len(cue.lines) <= limits.lines
        assert all(0 < len(line) <= limits.line_characters for line in cue.lines)
        assert 0 < cue.end_ms - cue.start_ms <= limits.longest_seconds * 1000
    for cue, following in pairwise(shown):
        assert cue.end_ms <= following.start_ms


all_limits = st.builds(
    CueLimits,
    line_characters=st.integers(1, 60),
    lines=st.integers(1, 4),
    longest_seconds=st.sampled_from([0.5, 3.0, 7.0]),
)


@given(segment_lists(), st.just(USUAL_LIMITS) | all_limits)
def test_cues_keep_their_limits_and_every_letter(segments: list[Segment], limits: CueLimits) -> None:
    shown = list(cues(segments, limits))
    check_limits(shown, limits)
    assert letters("".join("".join(cue.lines) for cue in shown)) == letters(
        "".join(part.text for part in segments)
    )


def unbroken(words: list[Word]) -> Segment:
    """One segment, whatever pauses are in it."""
    text = "".join(word.text for word in words)
    return msgspec.structs.replace(segment(0, 0, 0, text.strip(), first=True), words=tuple(words))


SPELLINGS = st.sampled_from(
    [
        " a",
        " I",
        " stone",
        " Größe,",
        " e.g.",
        " é\u2014",
        " and so on;",
        "日",
        "本、",
        "-glued",
        "  two",
        "\tnew\n",
    ]
)
PAUSES = st.sampled_from([0.0, 0.0, 0.02, 0.3, 0.58, 3.0])


@st.composite
def unbroken_segments(draw: st.DrawFn, spellings: st.SearchStrategy[str] = SPELLINGS) -> Segment:
    """Words of any spelling and pause, none split off into a segment of its own."""
    steps = st.tuples(spellings, PAUSES, st.sampled_from([0.0, 0.2, 1.4]))
    words: list[Word] = []
    clock = 0.0
    for text, pause, seconds in draw(st.lists(steps, max_size=80)):
        words.append(Word(text=text, start_seconds=clock + pause, end_seconds=clock + pause + seconds))
        clock += pause + seconds
    return unbroken(words)


@given(unbroken_segments(SPELLINGS | st.sampled_from(["", " ", "\n\n", " " + "x" * 90])), all_limits)
def test_words_of_white_space_change_no_limit(part: Segment, limits: CueLimits) -> None:
    shown = list(cues([part], limits))
    check_limits(shown, limits)
    assert letters("".join("".join(cue.lines) for cue in shown)) == letters(part.text)


@given(unbroken_segments())
def test_cues_are_those_of_the_plain_rule(part: Segment) -> None:
    plain = [plain_cues.lines(group) for group in plain_cues.groups(part.words)]
    assert [cue.lines for cue in cues([part])] == plain


@given(segment_lists())
@settings(max_examples=50)
def test_another_parser_reads_the_cues_from_the_subtitles(segments: list[Segment]) -> None:
    shown = list(cues(segments))
    for format_, text in (("srt", render_srt(segments)), ("vtt", render_vtt(segments))):
        read = pysubs2.SSAFile.from_string(text, format_=format_)
        found = [Cue(event.start, event.end, tuple(event.plaintext.split("\n"))) for event in read]
        assert found == shown


@given(st.text())
def test_no_text_breaks_out_of_its_cue(text: str) -> None:
    segments = [segment(0, 0, 1, text), segment(1, 1, 2, "next")]
    srt, vtt = render_srt(segments), render_vtt(segments)
    shown = list(cues(segments))
    check_limits(shown)
    assert srt.count("\n\n") == vtt.count("\n\n") - 1 == len(shown) - 1
    arrows = [line for line in vtt.split("\n") if "-->" in line]
    assert arrows == re.findall(r"^\d.* --> .*$", vtt, re.MULTILINE)
    assert len(arrows) == len(shown)
    lines = [line for block in vtt.split("\n\n")[1:] for line in block.rstrip("\n").split("\n")[1:]]
    assert [html.unescape(line) for line in lines] == [
        html.unescape(html.escape(line, quote=False)) for cue in shown for line in cue.lines
    ]


@contextmanager
def counted_steps() -> Iterator[list[int]]:
    """Every call inside, of functions in Python and in C and of generators that go on."""
    steps = [0]

    def count(_: Any, event: str, __: Any) -> None:
        steps[0] += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        yield steps
    finally:
        sys.setprofile(before)


def steps_of(part: Segment) -> int:
    with counted_steps() as steps:
        list(cues([part]))
    return steps[0]


def spoken_on(count: int) -> Segment:
    """Nobody pauses, nothing is punctuated."""
    return unbroken(list(spread_words(" ".join(["word"] * count), 0, count / 3)))


def all_at_once(count: int) -> Segment:
    return unbroken(list(spread_words(" ".join(["word"] * count), 5, 5)))


@pytest.mark.parametrize("said", [spoken_on, all_at_once])
def test_twice_the_words_are_twice_the_work(said: Callable[[int], Segment]) -> None:
    assert steps_of(said(800)) < 3 * steps_of(said(400))


@pytest.mark.parametrize("said", [spoken_on, all_at_once])
def test_an_hour_in_one_breath_keeps_its_limits_and_every_letter(said: Callable[[int], Segment]) -> None:
    part = said(10_000)
    shown = list(cues([part]))
    check_limits(shown)
    assert letters("".join("".join(cue.lines) for cue in shown)) == letters(part.text)


def split_off_one_by_one(count: int) -> Segment:
    """About a tenth of the words, each with a full stop and a pause that is just longer than the next one's."""
    pauses = accumulate((-2.2 / (count - place) for place in range(count - 1)), initial=0.6)
    starts = list(accumulate((max(pause, 0.0) for pause in pauses), initial=0.0))
    texts = (" a." if place < count // 10 else " ab" for place in range(count))
    return unbroken(
        [Word(text=text, start_seconds=at, end_seconds=at) for text, at in zip(texts, starts, strict=False)]
    )


def test_cues_split_off_one_by_one_take_no_stack() -> None:
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 50)
    try:
        shown = list(cues([split_off_one_by_one(1000)]))
    finally:
        sys.setrecursionlimit(limit)
    assert [cue.lines for cue in shown[:80]] == [("a.",)] * 80


@pytest.mark.parametrize("text", ["", " ", "\n\n"])
def test_white_space_alone_is_no_cue(text: str) -> None:
    words = [Word(text=text, start_seconds=10.0 * place, end_seconds=10.0 * place + 8) for place in range(3)]
    assert list(cues([unbroken(words)])) == []
    said = Word(text="yes", start_seconds=100, end_seconds=101)
    assert [cue.lines for cue in cues([unbroken([*words, said, *words])])] == [("yes",)]


def lines_of(words: tuple[Word, ...]) -> list[tuple[str, ...]]:
    return [cue.lines for cue in cues(with_words(list(words)))]


def test_a_cue_ends_with_the_sentence() -> None:
    words = spread_words("This is the first sentence. This is the second one. And a third.", 0, 6)
    assert lines_of(words) == [
        ("This is the first sentence.",),
        ("This is the second one.",),
        ("And a third.",),
    ]


def test_a_long_sentence_breaks_at_its_comma_into_balanced_lines() -> None:
    text = (
        "when the long winter was over and the snow had gone from the hills above the lake, "
        "the people of the valley took their boats down to the water again"
    )
    shown = lines_of(spread_words(text, 0, 12))
    assert shown[0][-1].endswith("lake,")
    assert len(shown) == 2
    assert all(abs(len(first) - len(second)) <= 8 for first, second in shown)


def test_slow_speech_breaks_before_seven_seconds_are_over() -> None:
    assert len(lines_of(spread_words("one two three four", 0, 10))) == 2


def test_a_short_cue_stays_a_second_where_there_is_room() -> None:
    words = [
        Word(text="yes", start_seconds=1, end_seconds=1.2, probability=1),
        Word(text=" no", start_seconds=1.9, end_seconds=2.0, probability=1),
    ]
    assert [(cue.start_ms, cue.end_ms) for cue in cues(with_words(words))] == [(1000, 1900), (1900, 2900)]


@pytest.mark.parametrize(
    ("limits", "lines"),
    [
        (CueLimits(), ("one two three",)),
        (CueLimits(line_characters=7), ("one two", "three")),
        (CueLimits(line_characters=5, lines=3), ("one", "two", "three")),
        (CueLimits(line_characters=9, lines=3), ("one two", "three")),
    ],
)
def test_a_cue_has_as_few_lines_as_hold_it(limits: CueLimits, lines: tuple[str, ...]) -> None:
    (cue,) = cues(with_words(list(spread_words("one two three", 0, 2))), limits)
    assert cue.lines == lines


def test_the_longest_of_three_lines_is_as_short_as_can_be() -> None:
    said = with_words(list(spread_words("the people of the valley took their boats down to the water", 0, 5)))
    (cue,) = cues(said, CueLimits(line_characters=25, lines=3))
    assert cue.lines == ("the people of", "the valley took their", "boats down to the water")


def test_subtitles_are_written_within_the_limits_asked_for() -> None:
    said = with_words(list(spread_words("one two three", 0, 2)))
    limits = CueLimits(line_characters=5, lines=1)
    for rendered in (render_srt(said, limits), render_vtt(said, limits)):
        assert re.findall(r"^[a-z ]+$", rendered, re.MULTILINE) == ["one", "two", "three"]


@pytest.mark.parametrize("asked", [True, False])
def test_words_are_in_verbose_json_only_when_asked_for(asked: bool) -> None:
    said = list(spread_words("three small words", 0.5, 2.0004))
    transcript = msgspec.structs.replace(TRANSCRIPT, segments=tuple(with_words(said)))
    options = RenderOptions(response_format=ResponseFormat.VERBOSE_JSON, words=asked)
    document = msgspec.json.decode(render(transcript, options).body)
    assert ("words" in document) == asked
    if asked:
        assert [word["word"] for word in document["words"]] == ["three", "small", "words"]
        assert document["words"][0]["start"] == 0.5
        assert document["words"][-1]["end"] == 2.0
        assert document["words"][0]["probability"] == 0.0


def test_a_word_the_model_timed_itself_has_no_probability() -> None:
    word = Word(text="so", start_seconds=0, end_seconds=1)
    transcript = msgspec.structs.replace(TRANSCRIPT, segments=(unbroken([word]),))
    options = RenderOptions(response_format=ResponseFormat.VERBOSE_JSON, words=True)
    document = msgspec.json.decode(render(transcript, options).body)
    assert document["words"] == [{"word": "so", "start": 0.0, "end": 1.0}]
