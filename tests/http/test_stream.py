"""`stream=true`: server-sent events over a real port."""

from __future__ import annotations

import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from lithophone.errors import InternalError, UndecodableAudioError
from lithophone.http.errors import envelope
from lithophone.http.event_stream import error_event
from tests.golden import Golden
from tests.http.conftest import THREE_WINDOWS, Live, serving, wav


def events_of(text: str) -> list[dict[str, Any]]:
    """The events; every one is its name and one `data:` line of JSON, the last is `[DONE]`."""
    *events, end, nothing = text.split("\n\n")
    assert (end, nothing) == ("data: [DONE]", "")
    told = [event_of(event) for event in events]
    assert all(name == data["type"] for name, data in told)
    return [data for _, data in told]


def event_of(event: str) -> tuple[str, dict[str, Any]]:
    """The name of an event, and its data."""
    name, data = event.split("\n")
    assert name.startswith("event: ")
    assert data.startswith("data: ")
    return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))


def test_deltas_then_done_then_the_end(server: Live) -> None:
    response = server.transcribe(THREE_WINDOWS, stream="true")
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache"
    *deltas, done = events_of(response.text)
    assert [delta["type"] for delta in deltas] == ["transcript.text.delta"] * 3
    assert done["type"] == "transcript.text.done"
    assert all("logprobs" not in event for event in (*deltas, done))


@pytest.mark.parametrize("format_", ["json", "text"])
def test_the_stream_says_what_the_json_answer_says(server: Live, format_: str) -> None:
    whole = server.transcribe(THREE_WINDOWS).json()
    *deltas, done = events_of(server.transcribe(THREE_WINDOWS, stream="1", response_format=format_).text)
    assert "".join(delta["delta"] for delta in deltas) == done["text"] == whole["text"]
    assert done["usage"] == whole["usage"]
    assert done["languages"] == whole["languages"]


def test_logprobs_in_deltas_are_those_of_the_whole(server: Live) -> None:
    fields = {"include[]": "logprobs"}
    *deltas, done = events_of(server.transcribe(THREE_WINDOWS, stream="true", **fields).text)
    assert [entry for delta in deltas for entry in delta["logprobs"]] == done["logprobs"]
    assert done["logprobs"] == server.transcribe(THREE_WINDOWS, **fields).json()["logprobs"]


def test_words_in_deltas_are_those_of_the_verbose_document(server: Live) -> None:
    fields = {"timestamp_granularities[]": "word"}
    *deltas, done = events_of(server.transcribe(THREE_WINDOWS, stream="true", **fields).text)
    whole = server.transcribe(THREE_WINDOWS, response_format="verbose_json", **fields).json()
    assert [word for delta in deltas for word in delta["words"]] == whole["words"]
    assert "words" not in done


def test_segments_ask_nothing_of_a_stream_and_words_beside_them_have_times(server: Live) -> None:
    for asked, timed in ((["segment"], False), (["word", "segment"], True)):
        response = server.transcribe(stream="true", **{"timestamp_granularities[]": asked})
        delta, _ = events_of(response.text)
        assert ("words" in delta) is timed
        assert "x-lithophone-warning" not in response.headers


def test_a_delta_is_sent_before_the_next_window_is_heard() -> None:
    with (
        serving(delay_seconds=0.4) as live,
        live.client.stream(
            "POST",
            "/v1/audio/transcriptions",
            files={"file": ("a.wav", THREE_WINDOWS)},
            data={"model": "whisper-1", "stream": "true"},
        ) as response,
    ):
        lines = response.iter_lines()
        assert "transcript.text.delta" in next(lines)
        assert sum(line == "event: transcript.text.delta" for line in lines) == 2


def test_silence_gives_no_delta_but_an_end(server: Live) -> None:
    (done,) = events_of(server.transcribe(wav((2.0, 0.0)), stream="true").text)
    assert done["text"] == ""


def test_text_is_escaped_not_spread_over_lines(server: Live) -> None:
    server.script.hear = lambda _: "one\ntwo\u2028three\r\n\nfour"
    delta, done = events_of(server.transcribe(stream="true").text)
    assert delta["delta"] == done["text"] == "one\ntwo\u2028three\r\n\nfour"


def test_a_late_failure_is_an_error_event_and_the_end(server: Live) -> None:
    server.script.failure = UndecodableAudioError("The second half is broken.", param="file")
    server.script.seconds_before_failure = 40
    response = server.transcribe(stream="true")
    assert response.status_code == 200
    first, error, nothing = response.text.split("\n\n")
    assert "transcript.text.delta" in first
    assert nothing == ""
    kind, data = error.split("\n")
    assert kind == "event: error"
    assert json.loads(data.removeprefix("data: "))["error"]["message"] == "The second half is broken."


def test_a_late_failure_of_ours_says_nothing_of_the_inside(server: Live) -> None:
    server.script.failure = RuntimeError("secret path")
    server.script.seconds_before_failure = 40
    with capture_logs() as logs:
        response = server.transcribe(stream="true")
    assert "internal_error" in response.text
    assert "secret" not in response.text
    assert "secret" in str(logs)


def test_the_error_event_is_as_it_was(golden: Golden) -> None:
    golden("stream.error.txt", error_event(envelope(InternalError("It broke."))))
