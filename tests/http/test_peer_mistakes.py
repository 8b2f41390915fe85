"""Mistakes that other servers of this API make, each of them not made here."""

from __future__ import annotations

import json
import re
import threading
import time

import pytest

from tests.http.conftest import SHORT, THREE_WINDOWS, Live, error_of, serving, wav
from tests.http.test_stream import events_of


def test_the_duration_is_a_number(server: Live) -> None:
    duration = server.transcribe(response_format="verbose_json").json()["duration"]
    assert type(duration) is float
    assert duration == 1.0


def test_text_is_text_not_json_and_not_html(server: Live) -> None:
    response = server.transcribe(response_format="text")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.text == "heard 1.00 seconds peak 0.50\n"


def test_the_streams_events_are_openais(server: Live) -> None:
    types = {event["type"] for event in events_of(server.transcribe(stream="true").text)}
    assert types == {"transcript.text.delta", "transcript.text.done"}


def test_a_hint_that_is_not_used_is_named_not_ignored(server: Live) -> None:
    fields = {"keywords[]": "granite"}
    assert "keywords: not used" in server.transcribe(**fields).headers["x-lithophone-warning"]
    for stream in ("false", "true"):
        response = server.transcribe(prompt="names: Ada", stream=stream)
        assert response.status_code == 200
        assert response.headers["x-lithophone-warning"].startswith("prompt: not used")
    assert "x-lithophone-warning" not in server.transcribe().headers


@pytest.mark.parametrize("name", ["timestamp_granularities[]", "timestamp_granularities"])
def test_a_list_sent_once_is_a_list(server: Live, name: str) -> None:
    response = server.transcribe(response_format="verbose_json", **{name: "segment"})
    assert response.status_code == 200


def test_text_in_the_stream_is_escaped(server: Live) -> None:
    server.script.hear = lambda _: 'she said "no"\n\ndata: [DONE]'
    delta, done = events_of(server.transcribe(stream="true").text)
    assert delta["delta"] == done["text"] == 'she said "no"\n\ndata: [DONE]'


def test_the_stream_ends_with_the_whole_text(server: Live) -> None:
    *_, done = events_of(server.transcribe(THREE_WINDOWS, stream="true").text)
    assert done["text"] == server.transcribe(THREE_WINDOWS).json()["text"] != ""


@pytest.mark.parametrize("junk", [b"", b"RIFF", b"\0\0\0\0", b"not audio"])
def test_junk_is_a_4xx_not_a_failed_assertion(server: Live, junk: bytes) -> None:
    assert 400 <= server.transcribe(junk).status_code < 500


def test_a_verbose_answer_names_its_task_and_language(server: Live) -> None:
    body = server.transcribe(response_format="verbose_json").json()
    assert (body["task"], body["language"]) == ("transcribe", "english")


def test_seconds_stay_below_sixty(server: Live) -> None:
    srt = server.transcribe(THREE_WINDOWS, response_format="srt").text
    assert "00:01:04,000" in srt
    assert all(int(seconds) < 60 for seconds in re.findall(r"\d\d:\d\d:(\d\d),\d{3}", srt))


def test_an_upload_over_15_megabytes_is_no_trouble(server: Live) -> None:
    recording = wav((16.0, 0.5)) + b"\0" * 16_000_000
    assert server.transcribe(recording).json()["text"] == "heard 16.00 seconds peak 0.50"


def test_the_text_does_not_begin_with_a_line_end(server: Live) -> None:
    for fields in ({}, {"response_format": "text"}):
        assert "heard" in server.transcribe(**fields).text.split("\n")[0]


def test_a_status_is_not_rewritten(server: Live) -> None:
    assert error_of(server.transcribe(response_format="mp3"), 400)["param"] == "response_format"


def test_a_chunked_upload_is_welcome(server: Live) -> None:
    form = server.client.build_request(
        "POST", "/v1/audio/transcriptions", files={"file": ("a.wav", SHORT)}, data={"model": "whisper-1"}
    )
    response = server.client.post(
        "/v1/audio/transcriptions",
        content=iter([form.read()]),
        headers={"content-type": form.headers["content-type"]},
    )
    assert "content-length" not in response.request.headers
    assert response.status_code == 200


@pytest.mark.parametrize("format_", ["srt", "vtt", "text"])
def test_a_format_is_not_silently_another(server: Live, format_: str) -> None:
    text = server.transcribe(response_format=format_).text
    with pytest.raises(json.JSONDecodeError):
        json.loads(text)


def test_the_server_answers_while_the_model_works() -> None:
    with serving(delay_seconds=1.0) as live:
        worker = threading.Thread(target=live.transcribe)
        worker.start()
        started = time.monotonic()
        for _ in range(5):
            assert live.client.get("/health").status_code == 200
        assert time.monotonic() - started < 1.0
        worker.join()


def test_scores_are_measured_not_zero(server: Live) -> None:
    (segment,) = server.transcribe(response_format="verbose_json").json()["segments"]
    assert segment["avg_logprob"] == pytest.approx(-0.25)
    assert segment["tokens"] == [1, 2, 3, 4, 5]
    assert segment["compression_ratio"] > 0
