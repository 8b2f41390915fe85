"""`POST /v1/audio/transcriptions` over a real port."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from lithophone.audio.decode import DecodedAudio
from lithophone.backends.base import RecognitionRequest
from lithophone.backends.fake import FakeBackend
from lithophone.errors import OverloadedError, UnsupportedMediaError
from lithophone.granite.family import DEMONSTRATION_ID, FAMILY
from lithophone.http.options import HttpOptions
from tests.http.conftest import THREE_WINDOWS, Live, error_of, eventually, occupied, serving, wav


def test_json_is_the_default(server: Live) -> None:
    response = server.transcribe()
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert body["text"] == "heard 1.00 seconds peak 0.50"
    assert body["languages"] == [{"code": "en"}]
    assert "logprobs" not in body
    usage = body["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert usage["input_tokens"] == sum(usage["input_token_details"].values())


@pytest.mark.parametrize(
    ("format_", "media_type"),
    [
        ("json", "application/json"),
        ("text", "text/plain; charset=utf-8"),
        ("srt", "application/x-subrip; charset=utf-8"),
        ("vtt", "text/vtt; charset=utf-8"),
        ("verbose_json", "application/json"),
    ],
)
def test_every_format_has_its_content_type(server: Live, format_: str, media_type: str) -> None:
    response = server.transcribe(response_format=format_)
    assert response.status_code == 200
    assert response.headers["content-type"] == media_type
    assert "heard 1.00 seconds" in response.text


def test_windows_are_joined_and_their_times_kept(server: Live) -> None:
    body = server.transcribe(THREE_WINDOWS, response_format="verbose_json").json()
    segments = body["segments"]
    assert len(segments) == 3
    assert body["text"] == " ".join(segment["text"] for segment in segments)
    assert body["duration"] == 64.0 == segments[-1]["end"]
    assert [segment["id"] for segment in segments] == [0, 1, 2]
    assert all(one["end"] == other["start"] for one, other in pairwise(segments))


def test_logprobs_come_when_asked_for(server: Live) -> None:
    body = server.transcribe(**{"include[]": ["logprobs"]}).json()
    assert "".join(entry["token"] for entry in body["logprobs"]) == body["text"]
    assert all(bytes(entry["bytes"]).decode() == entry["token"] for entry in body["logprobs"])


def test_silence_says_nothing(server: Live) -> None:
    silence = wav((3.0, 0.0))
    body = server.transcribe(silence, response_format="verbose_json").json()
    assert body["text"] == ""
    assert body["segments"] == []
    assert server.transcribe(silence, response_format="text").text == "\n"


def test_what_the_form_says_reaches_the_model() -> None:
    backend = FakeBackend(spec=FAMILY["granite-speech-3.3-2b"])
    with serving(lambda: backend, spec=FAMILY["granite-speech-3.3-2b"]) as live:
        loud = live.transcribe(language="FR", temperature="0.5", chunking_strategy="auto")
        assert loud.status_code == 200
        (request,) = backend.calls[-1]
        assert request.task.language == "fr"
        assert request.temperature == 0.5
        assert abs(request.samples).max() != pytest.approx(0.5, abs=0.01)


def test_real_files_are_decoded() -> None:
    with serving(audio_source=DecodedAudio) as live:
        assert live.transcribe().json()["text"] == "heard 1.00 seconds peak 0.50"
        error = error_of(live.transcribe(b"#EXTM3U\n#EXTINF:1,\nsecret.wav\n"), 400)
        assert error["param"] == "file"


@pytest.mark.parametrize("stream", ["true", "false"])
def test_what_is_wrong_with_the_audio_is_told_behind_what_is_wrong_with_the_form(
    server: Live, stream: str
) -> None:
    server.script.warnings = ("file: its end is cut off.", "audio_track: 1 of 2 was taken.")
    told = server.transcribe(stream=stream).headers["x-lithophone-warning"]
    assert told == "file: its end is cut off. audio_track: 1 of 2 was taken."
    both = server.transcribe(stream=stream, prompt="Ada").headers["x-lithophone-warning"]
    assert both.startswith("prompt: not used")
    assert both.endswith(told)


def test_the_audio_track_is_handed_on(server: Live) -> None:
    assert server.transcribe(audio_track="3").status_code == 200
    assert server.script.audio_track == 3
    assert server.transcribe().status_code == 200
    assert server.script.audio_track is None


def test_warnings_found_while_decoding_reach_a_whole_answer() -> None:
    recording = wav((20.0, 0.5))
    with serving(audio_source=DecodedAudio) as live:
        told = live.transcribe(recording[:-32_000]).headers["x-lithophone-warning"]
        assert told.startswith("file: it ends 1.0 s before the length it states.")
        assert "x-lithophone-warning" not in live.transcribe(recording).headers
        assert error_of(live.transcribe(audio_track="2"), 400)["param"] == "audio_track"


@pytest.mark.parametrize("stream", ["true", "false"])
def test_broken_audio_has_a_status_before_any_header(server: Live, stream: str) -> None:
    server.script.failure = UnsupportedMediaError("This is a recipe.", param="file")
    assert error_of(server.transcribe(stream=stream), 400)["code"] == "unsupported_media"


def test_the_order_is_model_then_support(server: Live) -> None:
    assert error_of(server.transcribe(model="nope", language="xx"), 404)["code"] == "model_not_found"
    assert error_of(server.transcribe(language="xx"), 400)["param"] == "language"


def test_who_finds_no_place_waits_and_is_then_told_when_to_come_back() -> None:
    with serving(max_requests=1, wait_seconds=0.2) as live, occupied(live):
        started = time.monotonic()
        response = live.transcribe()
        assert time.monotonic() - started >= 0.2
        assert error_of(response, 429)["type"] == OverloadedError.type
        assert int(response.headers["retry-after"]) >= 1
        assert live.client.get("/health").status_code == 200


def test_a_place_is_given_back_after_success_and_failure() -> None:
    with serving(max_requests=1) as live:
        for fields in ({}, {"model": "nope"}, {"stream": "true"}, {"stream": "true", "prompt": "x"}, {}):
            assert live.transcribe(**fields).status_code in {200, 400, 404}
        eventually(lambda: not live.admission.requests)


def test_requests_run_side_by_side() -> None:
    with serving(delay_seconds=0.2) as live:
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: live.transcribe(), range(4)))
        assert {answer.json()["text"] for answer in answers} == {"heard 1.00 seconds peak 0.50"}


def test_a_model_that_fails_is_a_500_that_says_nothing_of_the_inside(server: Live) -> None:
    def fail(_: RecognitionRequest) -> str:
        raise RuntimeError("cuda kernel 0xdeadbeef")

    server.script.hear = fail
    with capture_logs():
        response = server.transcribe()
    assert error_of(response, 500)["type"] == "server_error"
    assert "deadbeef" not in response.text


def test_unknown_fields_are_named_and_a_strict_server_refuses_them(server: Live) -> None:
    fields = {"vad_filter": "true", "beam_size": "5", "language": "en-US"}
    told = server.transcribe(**fields).headers["x-lithophone-warning"]
    assert told == "vad_filter: unknown, not used. beam_size: unknown, not used."
    with serving(options=HttpOptions(strict=True)) as live:
        assert error_of(live.transcribe(**fields), 400)["param"] == "vad_filter"
        assert error_of(live.transcribe(prompt="Ada"), 400)["param"] == "prompt"
        assert live.transcribe(language="auto").status_code == 200


def test_words_alone_come_without_segments(server: Live) -> None:
    def keys(*granularities: str) -> set[str]:
        asked = {"timestamp_granularities[]": list(granularities)} if granularities else {}
        body = server.transcribe(response_format="verbose_json", **asked).json()
        return {"words", "segments"} & set(body)

    assert keys() == keys("segment") == {"segments"}
    assert keys("word") == {"words"}
    assert keys("word", "segment") == keys('["word","segment"]') == {"words", "segments"}


def test_times_that_json_has_no_place_for_are_no_error(server: Live) -> None:
    assert "x-lithophone-warning" not in server.transcribe(timestamp_granularities="segment").headers
    told = server.transcribe(timestamp_granularities="word").headers["x-lithophone-warning"]
    assert told.startswith("timestamp_granularities: words have times with response_format verbose_json")


@pytest.mark.parametrize("stream", ["true", "false"])
def test_a_demonstration_model_owns_up(stream: str) -> None:
    spec = FAMILY[DEMONSTRATION_ID]
    for least, guessed in ((-99.0, False), (0.0, True)):
        with serving(spec=replace(spec, least_logprob=least)) as live, capture_logs() as logs:
            answer = live.transcribe(stream=stream)
            told = answer.headers["x-lithophone-warning"]
            assert f"--model {spec.stands_for}" in told
            assert ("did not understand" in told) is guessed
            for accept in ("text/plain", "application/json"):
                assert f"--model {spec.stands_for}" in live.client.get("/", headers={"accept": accept}).text
        assert [entry["event"] for entry in logs].count("not_understood") == guessed
