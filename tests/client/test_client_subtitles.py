"""Subtitles of an answer are the server's own: by the same code, and for whatever is said."""

from __future__ import annotations

import ast
import importlib
import inspect

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithophone_client import DiarizedTranscription, VerboseTranscription

pytest.importorskip("lithophone")

from lithophone.formats.cues import CueLimits
from lithophone.formats.names import ResponseFormat
from lithophone.formats.rendering import RenderOptions, render
from lithophone.formats.subtitles import render_srt, render_vtt
from lithophone.granite.words import Word
from tests.formats.samples import TRANSCRIPT, segment
from tests.strategies import timed_words

VERBOSE = RenderOptions(response_format=ResponseFormat.VERBOSE_JSON, words=True)


def statements(module: str) -> dict[str, str]:
    """What a module says, import by import left out: by the names it gives."""
    source = inspect.getsource(importlib.import_module(module))
    found: dict[str, str] = {}
    for statement in ast.parse(source).body:
        match statement:
            case ast.FunctionDef() | ast.ClassDef():
                found[statement.name] = ast.dump(statement)
            case ast.Assign(targets=[ast.Name(name)]) | ast.AnnAssign(target=ast.Name(name)):
                found[name] = ast.dump(statement)
            case _:
                pass
    return found


@pytest.mark.parametrize("name", ["cues", "passages", "subtitles", "times"])
def test_the_code_is_the_servers(name: str) -> None:
    assert statements(f"lithophone_client._subtitles.{name}") == statements(f"lithophone.formats.{name}")


def test_the_words_are_the_servers() -> None:
    ours = statements("lithophone_client._subtitles.words")
    theirs = statements("lithophone.granite.words") | statements("lithophone.engine.segmentation")
    assert {name for name, said in ours.items() if theirs.get(name) != said} == {"Segment"}


def answer_of(words: list[Word]) -> tuple[VerboseTranscription, list[Word]]:
    """What the server answers where this is said, and the words to the millisecond, as it tells them."""
    exact = [
        msgspec.structs.replace(
            word, start_seconds=round(word.start_seconds, 3), end_seconds=round(word.end_seconds, 3)
        )
        for word in words
    ]
    text = "".join(word.text for word in exact).strip()
    said = segment(0, exact[0].start_seconds, exact[-1].end_seconds, text, first=True)
    whole = msgspec.structs.replace(
        TRANSCRIPT, text=text, segments=(msgspec.structs.replace(said, words=tuple(exact)),)
    )
    return msgspec.json.decode(render(whole, VERBOSE).body, type=VerboseTranscription), exact


@given(timed_words(longest_start_seconds=5.0), st.integers(10, 60), st.integers(1, 3))
def test_an_answer_makes_the_subtitles_that_the_server_would_have_written(
    words: list[Word], line_characters: int, lines: int
) -> None:
    if not words:
        return
    answer, exact = answer_of(words)
    text = "".join(word.text for word in exact).strip()
    said = segment(0, exact[0].start_seconds, exact[-1].end_seconds, text)
    theirs = [msgspec.structs.replace(said, words=tuple(exact))]
    limits = CueLimits(line_characters=line_characters, lines=lines)
    assert answer.to_srt(line_characters=line_characters, lines=lines) == render_srt(theirs, limits)
    assert answer.to_vtt(line_characters=line_characters, lines=lines) == render_vtt(theirs, limits)
    alone = msgspec.structs.replace(answer, segments=None)
    assert alone.to_srt().count("-->") == render_srt(theirs).count("-->")


def test_speakers_and_silence_have_subtitles_too() -> None:
    rendered = render(TRANSCRIPT, RenderOptions(response_format=ResponseFormat.DIARIZED_JSON)).body
    answer = msgspec.json.decode(rendered, type=DiarizedTranscription)
    assert "&lt;i&gt;five &amp; six&lt;/i&gt; --&gt; seven" in answer.to_vtt()
    silence = VerboseTranscription(language="", duration=3.0, text="", segments=())
    assert (silence.to_srt(), silence.to_vtt()) == ("", "WEBVTT\n")


def test_an_answer_without_times_has_none() -> None:
    with pytest.raises(ValueError, match="timestamp_granularities"):
        VerboseTranscription(language="english", duration=3.0, text="hi").to_srt()
