"""`response_format=diarized_json`, whole and streamed, over a real port."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest
from openai.types.audio import TranscriptionDiarized

from lithophone.backends.base import RecognitionRequest
from lithophone.granite.family import FAMILY
from tests.http.conftest import SHORT, THREE_WINDOWS, Live, error_of, serving
from tests.http.test_stream import events_of


def talk(request: RecognitionRequest) -> str:
    """Two people at first, and whoever spoke last goes on."""
    return "and so on" if request.task.prefix_text else "[Speaker 1]: how are you [Speaker 2]: fine"


@pytest.fixture(scope="module")
def plus() -> Iterator[Live]:
    with serving(spec=FAMILY["granite-speech-4.1-2b-plus"]) as live:
        live.script.hear = talk
        yield live


def test_speakers_are_labelled_and_keep_their_label(plus: Live) -> None:
    body = plus.transcribe(THREE_WINDOWS, response_format="diarized_json").json()
    assert set(body) == {"task", "duration", "text", "segments", "usage"}
    assert body["text"] == "how are you fine and so on and so on"
    assert [(one["speaker"], one["text"]) for one in body["segments"]] == [
        ("A", "how are you"),
        ("B", "fine"),
        ("B", "and so on"),
        ("B", "and so on"),
    ]
    assert all(one["type"] == "transcript.text.segment" for one in body["segments"])
    starts = [one["start"] for one in body["segments"]]
    assert starts == sorted(starts)


def test_the_sdk_reads_it(plus: Live) -> None:
    with openai.OpenAI(base_url=f"{plus.url}/v1", api_key="none") as client:
        answer = client.audio.transcriptions.create(
            model="gpt-4o-transcribe-diarize", file=("a.wav", SHORT), response_format="diarized_json"
        )
    assert isinstance(answer, TranscriptionDiarized)
    assert [segment.speaker for segment in answer.segments] == ["A", "B"]


def test_the_stream_has_a_segment_event_for_each_segment(plus: Live) -> None:
    fields = {"response_format": "diarized_json"}
    whole = plus.transcribe(THREE_WINDOWS, **fields).json()
    *events, done = events_of(plus.transcribe(THREE_WINDOWS, stream="true", **fields).text)
    segments = [event for event in events if event["type"] == "transcript.text.segment"]
    deltas = [event for event in events if event["type"] == "transcript.text.delta"]
    assert segments == whole["segments"]
    assert [delta["segment_id"] for delta in deltas] == [segment["id"] for segment in segments]
    assert "".join(delta["delta"] for delta in deltas) == done["text"] == whole["text"]
    assert done["usage"] == whole["usage"]


def test_a_model_that_cannot_says_which_one_can(server: Live) -> None:
    error = error_of(server.transcribe(response_format="diarized_json"), 400)
    assert error["param"] == "response_format"
    assert "granite-speech-4.1-2b-plus" in error["message"]
