from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithophone.audio.voice import TurnOptions
from lithophone.engine.options import JobOptions
from lithophone.errors import InvalidRequestError, UnsupportedParameterError
from lithophone.formats.names import ResponseFormat
from lithophone.formats.rendering import render
from lithophone.granite.family import FAMILY, ModelSpec
from lithophone.granite.prompts import Tags
from lithophone.http.forms import TranslationForm, parse_form, parse_transcription_form
from lithophone.http.support import (
    REFUSALS,
    job_options,
    render_options,
    require_supported,
    require_translatable,
    require_used,
    translation_options,
    unknown_warnings,
    warnings_for,
)
from tests.formats.samples import TRANSCRIPT

SPEC = FAMILY["granite-speech-3.3-2b"]

REFUSED = {
    ("response_format", "diarized_json"): "granite-speech-4.1-2b-plus",
    ("language", "xx"): "fr (French)",
    ("languages[]", "ja"): "fr (French)",
    ("known_speaker_names[]", "Ada"): "Leave the field out",
    ("known_speaker_references[]", "data:audio/wav;base64,"): "Leave the field out",
}


def options_of(*pairs: tuple[str, str], spec: ModelSpec = SPEC) -> JobOptions:
    form = parse_transcription_form([("model", "whisper-1"), *pairs])
    require_supported(form, spec)
    return job_options(form, spec)


@pytest.mark.parametrize(("pair", "hint"), REFUSED.items(), ids=lambda value: str(value[0]))
def test_what_is_not_honoured_is_refused_and_the_answer_helps(pair: tuple[str, str], hint: str) -> None:
    with pytest.raises(UnsupportedParameterError) as caught:
        options_of(pair)
    assert caught.value.param == pair[0].removesuffix("[]")
    assert hint in caught.value.message


def test_keywords_reach_a_model_that_takes_them_and_no_control_token_does() -> None:
    able = FAMILY["granite-speech-4.1-2b"]
    options = options_of(("keywords[]", "granite"), ("keywords[]", " gneiss "), spec=able)
    assert options.keywords == ("granite", "gneiss")
    for bad in ("<|audio|>", "two\nlines", " "):
        with pytest.raises(InvalidRequestError) as caught:
            options_of(("keywords[]", bad), spec=able)
        assert caught.value.param == "keywords"


def test_every_rule_of_the_list_can_apply() -> None:
    triggers = [
        *([pair] for pair in REFUSED),
        [("stream", "true"), ("response_format", "srt")],
        [("include", "logprobs"), ("response_format", "text")],
    ]
    messages = {"A keyword is printable text without `<|`."}  # where a model takes any; see above
    for pairs in triggers:
        with pytest.raises(InvalidRequestError) as caught:
            options_of(*pairs)
        messages.add(caught.value.message)
    assert len(messages) >= len({refusal.message for refusal in REFUSALS})


@pytest.mark.parametrize("format_", ["srt", "vtt", "verbose_json"])
def test_only_json_and_text_are_streamed(format_: str) -> None:
    with pytest.raises(UnsupportedParameterError) as caught:
        options_of(("stream", "true"), ("response_format", format_))
    assert caught.value.param == "stream"


@pytest.mark.parametrize("format_", ResponseFormat)
def test_every_supported_format_is_written(format_: str) -> None:
    form = parse_transcription_form([("model", "whisper-1"), ("response_format", format_)])
    assert render(TRANSCRIPT, render_options(form)).body


def test_several_languages_are_candidates() -> None:
    one = options_of(("language", "fr"), ("languages", "FR-ca"))
    assert (one.language, one.candidates) == ("fr", ())
    several = options_of(("language", "fr"), ("languages", "de"), ("languages", "ru"))
    assert (several.language, several.candidates) == (None, ("fr", "de"))
    assert options_of(("languages", "ru"), ("languages", "de")).language == "de"
    assert options_of(("language", "auto"), ("languages", "null")) == options_of()


def test_words_alone_leave_the_segments_out() -> None:
    for asked, words, segments in (
        ((), False, True),
        (("segment",), False, True),
        (("word",), True, False),
        (("word", "segment"), True, True),
    ):
        pairs = [("timestamp_granularities[]", value) for value in asked]
        written = render_options(parse_transcription_form([("model", "whisper-1"), *pairs]))
        assert (written.words, written.segments) == (words, segments)


def test_what_is_honoured_reaches_the_engine() -> None:
    assert options_of() == JobOptions(language=None, temperature=0.0, normalise_loudness=False)
    assert options_of(
        ("language", "DE"), ("temperature", "0.3"), ("chunking_strategy", "auto")
    ) == JobOptions(language="de", temperature=0.3, normalise_loudness=True)
    assert options_of(("chunking_strategy", "server_vad")).turns == TurnOptions(
        threshold=0.5, prefix_padding_seconds=0.3, silence_seconds=0.2
    )
    asked = '{"type":"server_vad","threshold":0,"prefix_padding_ms":0,"silence_duration_ms":1500}'
    assert options_of(("chunking_strategy", asked)).turns == TurnOptions(
        threshold=0.0, prefix_padding_seconds=0.0, silence_seconds=1.5
    )


PLUS = FAMILY["granite-speech-4.1-2b-plus"]
V4_1 = FAMILY["granite-speech-4.1-2b"]


def test_speakers_and_native_times_are_tasks_of_the_plus_model() -> None:
    assert options_of(("response_format", "diarized_json"), spec=PLUS).task.tags is Tags.SPEAKERS
    for format_, tags in (("srt", Tags.WORD_TIMES), ("verbose_json", Tags.WORD_TIMES), ("json", None)):
        form = parse_transcription_form([("model", "whisper-1"), ("response_format", format_)])
        assert job_options(form, PLUS, native_word_times=True).task.tags is tags
        assert job_options(form, PLUS).task.tags is None


def test_a_prompt_gives_its_terms_to_a_model_that_takes_them() -> None:
    prompted = options_of(("prompt", "We met Ada Lovelace."), ("keywords", "gneiss"), spec=V4_1)
    assert prompted.keywords == ("gneiss", "Ada Lovelace")


def warned(*pairs: tuple[str, str], spec: ModelSpec) -> str:
    form = parse_transcription_form([("model", "whisper-1"), *pairs])
    return " ".join(warnings_for(form, spec))


def test_what_a_prompt_or_language_cannot_do_is_said() -> None:
    assert "granite-speech-3.3-2b takes no hints" in warned(("prompt", "Ada"), spec=SPEC)
    assert "no names or terms" in warned(("prompt", "and so they went."), spec=V4_1)
    assert warned(("prompt", "We met Ada."), spec=V4_1) == ""
    assert warned(("language", "de"), spec=V4_1) == ""
    assert "only labels" in warned(("language", "de"), ("keywords", "gneiss"), spec=V4_1)
    assert "only labels" in warned(("language", "de"), spec=SPEC)
    assert warned(("language", "en"), spec=FAMILY["granite-speech-tiny"]) == ""


def test_hints_in_vain_are_said() -> None:
    assert "takes none; these do: granite-4.0-1b-speech" in warned(("keywords", "gneiss"), spec=SPEC)
    assert "does not understand ru" in warned(("languages", "ru"), ("languages", "de"), spec=V4_1)
    assert "verbose_json" in warned(("timestamp_granularities", "word"), spec=SPEC)
    assert warned(("timestamp_granularities", "segment"), spec=SPEC) == ""
    timed = ("response_format", "verbose_json")
    assert warned(("timestamp_granularities", "word"), timed, spec=SPEC) == ""


@given(st.lists(st.text(), unique=True))
def test_warnings_are_fit_for_a_header_however_many_fields_are_unknown(names: list[str]) -> None:
    told = " ".join(unknown_warnings(names))
    assert told.isascii()
    assert told.isprintable()
    assert len(told) < 4_000


def test_every_unknown_field_is_named_up_to_a_limit() -> None:
    assert unknown_warnings(["seed", "é"]) == ("seed: unknown, not used.", "\\xe9: unknown, not used.")
    assert unknown_warnings([f"x{number}" for number in range(25)])[-1] == "form: 5 more fields are unknown."


def test_a_strict_server_refuses_what_is_asked_in_vain() -> None:
    require_used(())
    with pytest.raises(UnsupportedParameterError) as caught:
        require_used(unknown_warnings(["seed"]))
    assert caught.value.param == "seed"


def translated(*pairs: tuple[str, str], spec: ModelSpec) -> JobOptions:
    form = parse_form(TranslationForm, [("model", "whisper-1"), *pairs])
    require_translatable(form, spec)
    return translation_options(form, spec)


def test_a_translation_is_into_english_unless_told_otherwise() -> None:
    assert translated(spec=SPEC).task.translate_to == "en"
    assert translated(("to_language", "JA"), spec=SPEC).task.translate_to == "ja"
    assert translated(("to_language", "German"), spec=SPEC).task.translate_to == "de"
    assert translated(("to_language", "auto"), spec=SPEC).task.translate_to == "en"
    assert translated(("prompt", "Ada, Babbage"), spec=V4_1).task.keywords == ("Ada", "Babbage")


@pytest.mark.parametrize(
    ("pair", "model", "param", "hint"),
    [
        (("temperature", "0"), "granite-speech-tiny", "model", "granite-speech-3.3-2b"),
        (("temperature", "0"), "granite-speech-4.1-2b-plus", "model", "granite-speech-4.1-2b"),
        (("to_language", "it"), "granite-speech-3.3-2b", "to_language", "de (German)"),
        (("response_format", "diarized_json"), "granite-speech-3.3-2b", "response_format", "verbose_json"),
    ],
)
def test_a_translation_that_cannot_be_had_is_refused(
    pair: tuple[str, str], model: str, param: str, hint: str
) -> None:
    with pytest.raises(UnsupportedParameterError) as caught:
        translated(pair, spec=FAMILY[model])
    assert caught.value.param == param
    assert hint in caught.value.message
