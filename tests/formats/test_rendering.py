from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithophone.engine.transcript import Transcript, Usage
from lithophone.formats.documents import SpeakerLabels, verbose_transcription, verbose_translation
from lithophone.formats.events import DONE, delta_event, done_event
from lithophone.formats.names import ResponseFormat
from lithophone.formats.rendering import RenderOptions, render
from lithophone.formats.subtitles import render_srt, render_vtt
from lithophone.formats.times import clock, milliseconds, wire_seconds
from lithophone.granite.family import LANGUAGE_NAMES
from tests.formats.samples import SEGMENTS, TRANSCRIPT, segment
from tests.golden import Golden

HUNDRED_HOURS = 360_000.0

times = st.floats(0, HUNDRED_HOURS - 0.01)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("transcript.json", RenderOptions()),
        ("transcript.logprobs.json", RenderOptions(logprobs=True)),
        ("transcript.verbose.json", RenderOptions(response_format=ResponseFormat.VERBOSE_JSON)),
        ("transcript.txt", RenderOptions(response_format=ResponseFormat.TEXT)),
        ("transcript.srt", RenderOptions(response_format=ResponseFormat.SRT)),
        ("transcript.vtt", RenderOptions(response_format=ResponseFormat.VTT)),
        ("transcript.diarized.json", RenderOptions(response_format=ResponseFormat.DIARIZED_JSON)),
        ("translation.json", RenderOptions(translation=True)),
        (
            "translation.verbose.json",
            RenderOptions(response_format=ResponseFormat.VERBOSE_JSON, translation=True),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_format_is_as_it_was(golden: Golden, name: str, options: RenderOptions) -> None:
    body = render(TRANSCRIPT, options).body
    golden(name, msgspec.json.format(body, indent=1) + b"\n" if name.endswith(".json") else body)


@given(st.lists(st.integers(1, 800), min_size=1))
def test_speakers_are_lettered_by_their_first_appearance(speakers: list[int]) -> None:
    labels = SpeakerLabels()
    given_labels = [labels.label(speaker) for speaker in speakers]
    assert len(set(given_labels)) == len(set(speakers))
    assert given_labels[0] == "A"
    ordered = list(dict.fromkeys(given_labels))
    assert ordered == sorted(ordered, key=lambda label: (len(label), label))


def test_the_twenty_seventh_speaker_has_two_letters() -> None:
    labels = SpeakerLabels()
    assert [labels.label(number) for number in range(28)][-3:] == ["Z", "AA", "AB"]


@pytest.mark.parametrize("logprobs", [False, True])
def test_the_event_stream_is_as_it_was(golden: Golden, logprobs: bool) -> None:
    deltas = [delta_event(segment, logprobs=logprobs) for segment in SEGMENTS if segment.delta]
    events = [*deltas, done_event(TRANSCRIPT, logprobs=logprobs), DONE]
    golden("stream.logprobs.txt" if logprobs else "stream.txt", b"".join(events))


def test_times_are_rounded_before_they_are_split() -> None:
    assert clock(milliseconds(1.9996), ",") == "00:00:02,000"
    assert clock(milliseconds(4.35), ",") == "00:00:04,350"
    assert clock(milliseconds(3725.5), ",") == "01:02:05,500"
    assert clock(milliseconds(359_999.9996), ".") == "100:00:00.000"


@given(times)
def test_a_clock_reads_back(seconds: float) -> None:
    match = re.fullmatch(r"(\d\d+):([0-5]\d):([0-5]\d),(\d{3})", clock(milliseconds(seconds), ","))
    assert match is not None
    hours, minutes, whole, thousandths = map(int, match.groups())
    assert ((hours * 60 + minutes) * 60 + whole) * 1000 + thousandths == milliseconds(seconds)
    assert wire_seconds(seconds) == milliseconds(seconds) / 1000


def test_nothing_said_is_an_empty_file_of_its_kind() -> None:
    silent = [segment(0, 0, 5, "")]
    assert render_srt(silent) == ""
    assert render_vtt(silent) == "WEBVTT\n"


def test_verbose_segments_hold_what_the_engine_measured() -> None:
    segments = verbose_transcription(TRANSCRIPT).segments
    assert isinstance(segments, tuple)
    assert [written.id for written in segments] == list(range(len(segments)))
    for segment_, written in zip(TRANSCRIPT.spoken_segments, segments, strict=True):
        assert written.avg_logprob == segment_.average_logprob
        assert written.compression_ratio == segment_.compression_ratio
        assert written.no_speech_prob == segment_.no_speech_probability
        assert written.tokens == tuple(token.id for token in segment_.tokens)
        assert written.seek == round(segment_.start_seconds * 100)


@pytest.mark.parametrize("code", LANGUAGE_NAMES)
def test_the_language_is_its_english_name_in_lower_case(code: str) -> None:
    transcript = msgspec.structs.replace(TRANSCRIPT, language=code)
    assert verbose_transcription(transcript).language == LANGUAGE_NAMES[code].lower()


def test_a_language_nobody_can_tell_is_not_made_up() -> None:
    silence = Transcript(text="", language=None, duration_seconds=1, segments=(), usage=Usage())
    assert verbose_transcription(silence).language == "unknown"
    assert b'"languages":[]' in done_event(silence, logprobs=False)


def data_of(event: bytes) -> Any:
    """What an event holds, read."""
    return json.loads(event.partition(b"data: ")[2])


def test_silence_has_no_segment_and_words_alone_leave_segments_out() -> None:
    silent = msgspec.structs.replace(
        TRANSCRIPT, segments=(segment(0, 0, 5, ""), segment(1, 5, 6, "so", first=True))
    )
    segments = verbose_transcription(silent).segments
    assert isinstance(segments, tuple)
    assert [(written.id, written.text) for written in segments] == [(0, "so")]
    assert len(verbose_translation(silent).segments) == 1
    assert b"segments" not in msgspec.json.encode(verbose_transcription(silent, words=True, segments=False))


@given(st.text())
def test_an_event_is_its_name_and_one_line_of_json_to_any_client(text: str) -> None:
    event = delta_event(segment(0, 0, 1, text, first=True), logprobs=True)
    name, data, empty = event.decode().splitlines()
    assert name == "event: transcript.text.delta"
    assert empty == ""
    assert json.loads(data.removeprefix("data: "))["delta"] == text


def test_deltas_joined_are_the_text_and_logprobs_the_tokens() -> None:
    deltas = [data_of(delta_event(part, logprobs=True)) for part in SEGMENTS]
    done = data_of(done_event(TRANSCRIPT, logprobs=True))
    assert "".join(delta["delta"] for delta in deltas) == done["text"] == TRANSCRIPT.text
    assert [entry for delta in deltas for entry in delta["logprobs"]] == done["logprobs"]
    assert all(bytes(entry["bytes"]).decode() == entry["token"] for entry in done["logprobs"])
