from __future__ import annotations

import contextlib
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithophone.errors import InvalidRequestError
from lithophone.http.forms import (
    AutoChunking,
    Granularity,
    Include,
    ResponseFormat,
    ServerVad,
    TranscriptionForm,
    TranslationForm,
    parse_transcription_form,
    unknown_fields,
)

LIST_FIELDS = (
    "languages",
    "keywords",
    "timestamp_granularities",
    "include",
    "known_speaker_names",
    "known_speaker_references",
)


def parse(*pairs: tuple[str, str]) -> TranscriptionForm:
    return parse_transcription_form([("model", "whisper-1"), *pairs])


def refusal(*pairs: tuple[str, str]) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError) as caught:
        parse(*pairs)
    assert caught.value.status == 400
    return caught.value


def test_defaults_are_those_of_openai() -> None:
    form = parse()
    assert form == TranscriptionForm(model="whisper-1")
    assert form.response_format is ResponseFormat.JSON
    assert form.temperature == 0
    assert not form.stream


@pytest.mark.parametrize("name", ["keywords", "keywords[]", "keywords[0]"])
def test_a_list_of_one_may_be_written_in_any_way(name: str) -> None:
    assert parse((name, "granite")).keywords == ("granite",)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "[]", "[7]"]),
            st.text(min_size=1).filter(lambda value: not value.startswith("[")),
        ),
        max_size=6,
    )
)
def test_a_list_keeps_every_value_in_its_order(values: list[tuple[str, str]]) -> None:
    pairs = [(f"keywords{suffix}", value) for suffix, value in values]
    assert parse(*pairs).keywords == tuple(value for _, value in values)


@given(st.lists(st.text()))
def test_a_list_may_be_one_json_array(values: list[str]) -> None:
    kept = tuple(value for value in values if value)
    assert parse(("keywords", json.dumps(values))).keywords == kept
    assert parse(("keywords[]", json.dumps(values)), ("keywords[]", "x")).keywords == (*kept, "x")


@pytest.mark.parametrize("value", ["[", "[1]", "[x]", '["a"'])
def test_what_is_no_array_of_texts_is_a_text(value: str) -> None:
    assert parse(("keywords", value)).keywords == (value,)


def test_granularities_in_one_array_are_understood() -> None:
    form = parse(("timestamp_granularities", '["word","segment"]'))
    assert form.timestamp_granularities == (Granularity.WORD, Granularity.SEGMENT)


@pytest.mark.parametrize(("text", "value"), [("true", True), ("True", True), ("1", True), ("TRUE", True)])
@pytest.mark.parametrize("negate", [False, True])
def test_booleans_come_in_every_spelling(text: str, value: bool, negate: bool) -> None:
    opposite = {"true": "false", "True": "False", "1": "0", "TRUE": "FALSE"}
    assert parse(("stream", opposite[text] if negate else text)).stream is (value is not negate)


@given(st.sampled_from([field.name for field in msgspec.structs.fields(TranscriptionForm)][1:]))
def test_an_empty_field_is_absent(name: str) -> None:
    assert parse((name, "")) == parse()


def test_an_empty_model_is_missing() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        parse_transcription_form([("model", "")])
    assert caught.value.param == "model"


@pytest.mark.parametrize(
    "name", ["vad_filter", "Model", "model[]", "temperature[0]", "language[x]", "", "a b", "[]"]
)
def test_an_unknown_field_is_passed_over_and_named(name: str) -> None:
    pairs = [("model", "whisper-1"), (name, "x"), (name, "y"), ("language", "fr")]
    assert parse_transcription_form(pairs) == TranscriptionForm(model="whisper-1", language="fr")
    assert unknown_fields(TranscriptionForm, pairs) == (name,)


def test_an_unknown_field_without_a_value_is_not_even_there() -> None:
    assert unknown_fields(TranslationForm, [("hotwords", ""), ("language", "de")]) == ("language",)


@pytest.mark.parametrize("name", ["language", "prompt", "response_format", "temperature", "stream"])
def test_a_single_value_sent_twice_is_refused(name: str) -> None:
    assert refusal((name, "1"), (name, "1")).param == name


@pytest.mark.parametrize("value", ["-0.1", "1.01", "warm", "nan", "inf", "1e999", " 1", "1_0", "0x1"])
def test_a_temperature_outside_0_to_1_is_refused(value: str) -> None:
    assert refusal(("temperature", value)).param == "temperature"


@pytest.mark.parametrize("value", ["0", "-1", "1000", "first", "1.5"])
def test_an_audio_track_counts_from_1(value: str) -> None:
    assert refusal(("audio_track", value)).param == "audio_track"
    assert parse(("audio_track", "2")).audio_track == 2
    assert parse().audio_track is None


@given(st.floats(0, 1))
def test_a_temperature_is_read_as_written(value: float) -> None:
    assert parse(("temperature", str(value))).temperature == value


@pytest.mark.parametrize("name", ["response_format", "timestamp_granularities", "include"])
def test_a_wrong_choice_names_the_right_ones(name: str) -> None:
    error = refusal((name, "colour"))
    assert error.param == name
    expected = {
        "response_format": "verbose_json",
        "timestamp_granularities": "segment",
        "include": "logprobs",
    }
    assert expected[name] in error.message


def test_choices_are_typed() -> None:
    form = parse(("timestamp_granularities[]", "word"), ("include[]", "logprobs"), ("response_format", "vtt"))
    assert form.timestamp_granularities == (Granularity.WORD,)
    assert form.include == (Include.LOGPROBS,)
    assert form.response_format is ResponseFormat.VTT


@pytest.mark.parametrize("value", ["auto", '{"type":"auto"}', ' {"type": "auto"}'])
def test_automatic_chunking(value: str) -> None:
    assert parse(("chunking_strategy", value)).chunking_strategy == AutoChunking()


def test_voice_activity_chunking_as_json_and_as_the_sdks_flatten_it() -> None:
    as_json = parse(("chunking_strategy", '{"type":"server_vad","threshold":0.4,"silence_duration_ms":200}'))
    flattened = parse(
        ("chunking_strategy[type]", "server_vad"),
        ("chunking_strategy[threshold]", "0.4"),
        ("chunking_strategy[silence_duration_ms]", "200"),
    )
    assert as_json == flattened
    assert flattened.chunking_strategy == ServerVad(threshold=0.4, silence_duration_ms=200)


@pytest.mark.parametrize(
    "value",
    [
        "manual",
        "{",
        "[]",
        "{}",
        '{"type":"server_vad","threshold":2}',
        '{"type":"server_vad","loudness":1}',
        '{"type":"auto","threshold":0.5}',
    ],
)
def test_a_chunking_strategy_without_meaning_is_refused(value: str) -> None:
    assert refusal(("chunking_strategy", value)).param == "chunking_strategy"


def test_a_chunking_strategy_in_two_forms_is_refused() -> None:
    error = refusal(("chunking_strategy", "auto"), ("chunking_strategy[type]", "auto"))
    assert error.param == "chunking_strategy[type]"


def test_a_file_without_a_name_is_text_and_the_answer_says_how_to_send_it() -> None:
    error = refusal(("file", "speech.wav"))
    assert error.param == "file"
    assert "file=@" in error.message


pieces = st.sampled_from(
    [*LIST_FIELDS, "model", "stream", "chunking_strategy", "file", "prompt", "[", "]", "[]", "{}", "x"]
)


@given(st.lists(st.tuples(st.lists(pieces, max_size=4).map("".join), st.text(max_size=8)), max_size=5))
def test_whatever_comes_is_a_form_or_a_400(pairs: list[tuple[str, str]]) -> None:
    with contextlib.suppress(InvalidRequestError):
        assert parse_transcription_form(pairs).model
