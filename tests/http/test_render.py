from __future__ import annotations

import json
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithophone.engine.transcript import Transcript, Usage
from lithophone.errors import InternalError
from lithophone.granite.family import LANGUAGE_NAMES
from lithophone.http.errors import envelope
from lithophone.http.forms import ResponseFormat, parse_transcription_form
from lithophone.http.render import Rendered, render_transcript, render_translation
from lithophone.http.render.documents import SpeakerLabels, verbose_transcription
from lithophone.http.render.events import DONE, delta_event, done_event, error_event
from lithophone.http.render.subtitles import render_srt, render_vtt
from lithophone.http.render.times import clock, milliseconds, wire_seconds
from tests.golden import Golden
from tests.http.samples import SEGMENTS, TRANSCRIPT, segment

HUNDRED_HOURS = 360_000.0

times = st.floats(0, HUNDRED_HOURS - 0.01)


def rendered(**fields: str) -> Rendered:
    form = parse_transcription_form([("model", "whisper-1"), *fields.items()])
    return render_transcript(TRANSCRIPT, form)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("transcript.json", {"response_format": "json"}),
        ("transcript.logprobs.json", {"response_format": "json", "include": "logprobs"}),
        ("transcript.verbose.json", {"response_format": "verbose_json"}),
        ("transcript.txt", {"response_format": "text"}),
        ("transcript.srt", {"response_format": "srt"}),
        ("transcript.vtt", {"response_format": "vtt"}),
        ("transcript.diarized.json", {"response_format": "diarized_json"}),
    ],
)
def test_every_format_is_as_it_was(golden: Golden, name: str, fields: dict[str, str]) -> None:
    body = rendered(**fields).body
    golden(name, msgspec.json.format(body, indent=1) + b"\n" if name.endswith(".json") else body)


@pytest.mark.parametrize(
    ("name", "format_"), [("translation.json", "json"), ("translation.verbose.json", "verbose_json")]
)
def test_every_format_of_a_translation_is_as_it_was(golden: Golden, name: str, format_: str) -> None:
    body = render_translation(TRANSCRIPT, ResponseFormat(format_)).body
    golden(name, msgspec.json.format(body, indent=1) + b"\n")


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


def test_the_error_event_is_as_it_was(golden: Golden) -> None:
    golden("stream.error.txt", error_event(envelope(InternalError("It broke."))))


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
    for segment_, written in zip(SEGMENTS, verbose_transcription(TRANSCRIPT).segments, strict=True):
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


@given(st.text())
def test_an_event_is_one_line_of_json_to_any_client(text: str) -> None:
    event = delta_event(segment(0, 0, 1, text, first=True), logprobs=True)
    prefix, empty = event.decode().splitlines()[:1], event.decode().splitlines()[1:]
    assert empty == [""]
    assert json.loads(prefix[0].removeprefix("data: "))["delta"] == text


def test_deltas_joined_are_the_text_and_logprobs_the_tokens() -> None:
    deltas = [json.loads(delta_event(part, logprobs=True)[6:]) for part in SEGMENTS]
    done = json.loads(done_event(TRANSCRIPT, logprobs=True)[6:])
    assert "".join(delta["delta"] for delta in deltas) == done["text"] == TRANSCRIPT.text
    assert [entry for delta in deltas for entry in delta["logprobs"]] == done["logprobs"]
    assert all(bytes(entry["bytes"]).decode() == entry["token"] for entry in done["logprobs"])
