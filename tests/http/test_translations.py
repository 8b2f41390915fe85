"""`POST /v1/audio/translations` over a real port."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pysubs2
import pytest

from lithophone.backends.base import RecognitionRequest
from lithophone.granite.family import FAMILY
from tests.http.conftest import SHORT, Live, error_of, post_audio, serving
from tests.http.test_stream import events_of

PATH = "/v1/audio/translations"


def target(request: RecognitionRequest) -> str:
    return f"This is in {request.task.translate_to}."


@pytest.fixture(scope="module")
def translator() -> Iterator[Live]:
    with serving(spec=FAMILY["granite-speech-3.3-2b"]) as live:
        live.script.hear = target
        yield live


def test_a_stock_request_is_translated_to_english(translator: Live) -> None:
    assert post_audio(translator, PATH).json() == {"text": "This is in en."}


def test_another_language_can_be_asked_for(translator: Live) -> None:
    body = post_audio(translator, PATH, response_format="verbose_json", to_language="de").json()
    assert (body["task"], body["language"], body["text"]) == ("translate", "german", "This is in de.")
    assert body["duration"] == 1.0
    assert body["segments"][0]["text"] == "This is in de."


@pytest.mark.parametrize(
    ("format_", "start"), [("text", "This"), ("srt", "1\n00:00:00,000"), ("vtt", "WEBVTT")]
)
def test_text_and_subtitles(translator: Live, format_: str, start: str) -> None:
    text = post_audio(translator, PATH, response_format=format_).text
    assert text.startswith(start)
    if format_ != "text":
        assert [line.text for line in pysubs2.SSAFile.from_string(text)] == ["This is in en."]


def test_the_sdk_reads_both_documents(translator: Live) -> None:
    with (
        openai.OpenAI(base_url=f"{translator.url}/v1", api_key="none") as client,
        pytest.deprecated_call(),  # by the SDK: OpenAI itself will stop translating
    ):
        plain = client.audio.translations.create(model="whisper-1", file=("a.wav", SHORT))
        verbose = client.audio.translations.create(
            model="whisper-1", file=("a.wav", SHORT), response_format="verbose_json"
        )
    assert plain.text == verbose.text == "This is in en."
    assert verbose.language == "english"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"to_language": "xx"}, "to_language"),
        ({"response_format": "diarized_json"}, "response_format"),
        ({"stream": "true", "response_format": "srt"}, "stream"),
        ({"temperature": "2"}, "temperature"),
    ],
)
def test_a_value_without_meaning_is_refused(translator: Live, fields: dict[str, str], param: str) -> None:
    assert error_of(post_audio(translator, PATH, **fields), 400)["param"] == param


def test_a_field_of_a_transcription_is_named(translator: Live) -> None:
    told = post_audio(translator, PATH, language="de").headers["x-lithophone-warning"]
    assert told == "language: unknown, not used."


def test_a_translation_is_streamed_with_the_times_of_its_words(translator: Live) -> None:
    fields = {"stream": "true", "timestamp_granularities[]": "word"}
    delta, done = events_of(post_audio(translator, PATH, **fields).text)
    assert delta["delta"] == done["text"] == "This is in en."
    assert [word["word"] for word in delta["words"]] == ["This", "is", "in", "en."]
    assert delta["words"][-1]["end"] == 1.0


def test_a_model_that_cannot_translate_says_which_ones_can(server: Live) -> None:
    error = error_of(post_audio(server, PATH), 400)
    assert error["param"] == "model"
    assert "granite-speech-3.3-2b" in error["message"]


def test_an_unused_prompt_is_named(translator: Live) -> None:
    assert "prompt" in post_audio(translator, PATH, prompt="Ada").headers["x-lithophone-warning"]


def test_the_audio_track_is_handed_on(translator: Live) -> None:
    assert post_audio(translator, PATH, audio_track="2").status_code == 200
    assert translator.script.audio_track == 2
