"""A server's answers become the transcripts they were written from."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from lithophone.engine.transcript import Transcript, Usage
from lithophone.formats.names import ResponseFormat
from lithophone.formats.rendering import RenderOptions, render
from lithophone.granite.words import Word
from lithophone.transcribe.documents import TEXTS, Layout, write_document
from lithophone.transcribe.elsewhere import transcript_of
from lithophone_client import VerboseTranscription
from tests.formats.samples import TRANSCRIPT, segment
from tests.strategies import timed_words

VERBOSE = RenderOptions(response_format=ResponseFormat.VERBOSE_JSON, words=True)


def answered(transcript: Transcript) -> Transcript:
    """As the client reads what the server writes."""
    return transcript_of(msgspec.json.decode(render(transcript, VERBOSE).body, type=VerboseTranscription))


def spoken(words: list[Word], cut: int) -> Transcript:
    """Words to the millisecond, which is what an answer tells, in two segments."""
    exact = [
        msgspec.structs.replace(
            word, start_seconds=round(word.start_seconds, 3), end_seconds=round(word.end_seconds, 3)
        )
        for word in words
    ]
    segments = []
    for number, part in enumerate((exact[:cut], exact[cut:])):
        if part:
            text = "".join(word.text for word in part).strip()
            plain = segment(number, part[0].start_seconds, part[-1].end_seconds, text, first=not segments)
            segments.append(msgspec.structs.replace(plain, words=tuple(part)))
    return Transcript(
        text="".join(one.delta for one in segments),
        language="en",
        duration_seconds=60.0,
        segments=tuple(segments),
        usage=Usage(),
    )


@given(timed_words(longest_start_seconds=5.0), st.integers(0, 40))
def test_every_document_is_the_one_the_server_would_have_written(words: list[Word], cut: int) -> None:
    transcript = spoken(words, cut)
    layout = Layout(words=True)
    for output_format in TEXTS:
        there = write_document(transcript, output_format, layout)
        assert write_document(answered(transcript), output_format, layout) == there


def test_silence_and_scripts_without_spaces_come_through() -> None:
    again = answered(TRANSCRIPT)
    assert again.text == TRANSCRIPT.text
    assert render(again, VERBOSE) == render(answered(again), VERBOSE)
    said = [one.delta for one in TRANSCRIPT.segments if one.delta]  # silence is no segment of an answer
    assert [one.delta for one in again.segments] == said
