"""Subtitles: what a cue may hold, and that another parser reads what was written."""

from __future__ import annotations

import html
import re
from itertools import pairwise

import msgspec
import pysubs2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lithophone.engine.segmentation import split_segments
from lithophone.engine.transcript import Segment
from lithophone.formats.cues import LINE_CHARACTERS, LINES, LONGEST_SECONDS, Cue, cues
from lithophone.formats.names import ResponseFormat
from lithophone.formats.rendering import RenderOptions, render
from lithophone.formats.subtitles import render_srt, render_vtt
from lithophone.granite.words import Word, spread_words
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


def check_limits(shown: list[Cue]) -> None:
    for cue in shown:
        assert 1 <= len(cue.lines) <= LINES
        assert all(0 < len(line) <= LINE_CHARACTERS for line in cue.lines)
        assert 0 < cue.end_ms - cue.start_ms <= LONGEST_SECONDS * 1000
    for cue, following in pairwise(shown):
        assert cue.end_ms <= following.start_ms


@given(segment_lists())
def test_cues_keep_their_limits_and_every_letter(segments: list[Segment]) -> None:
    shown = list(cues(segments))
    check_limits(shown)
    assert letters("".join("".join(cue.lines) for cue in shown)) == letters(
        "".join(part.text for part in segments)
    )


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
