"""The answers of the contract become structs, and the structs hold what OpenAI's types hold."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import openai.types
import openai.types.audio as sdk
import pytest
from openai.types.audio.transcription import Logprob, UsageTokens, UsageTokensInputTokenDetails
from openai.types.audio.transcription_language import TranscriptionLanguage
from openai.types.audio.transcription_verbose import Usage as VerboseUsage

from lithophone_client import (
    DiarizedTranscription,
    Done,
    DurationUsage,
    InputTokenDetails,
    Language,
    Model,
    Segment,
    SpeakerSegment,
    TextDelta,
    TokenLogprob,
    TokenUsage,
    Transcription,
    Translation,
    UnexpectedResponseError,
    VerboseTranscription,
    Word,
)
from lithophone_client._responses import decode_json, decode_models, decode_text

USAGE = {
    "type": "tokens",
    "input_tokens": 60,
    "output_tokens": 3,
    "total_tokens": 63,
    "input_token_details": {"audio_tokens": 50, "text_tokens": 10},
}
SEGMENT = {
    "id": 0,
    "seek": 0,
    "start": 0.0,
    "end": 2,
    "text": " hello there",
    "tokens": [1, 2],
    "temperature": 0.0,
    "avg_logprob": -0.25,
    "compression_ratio": 0.9,
    "no_speech_prob": 0.01,
}
VERBOSE = {
    "task": "transcribe",
    "language": "english",
    "duration": 2.5,
    "text": "hello there",
    "segments": [SEGMENT],
    "words": [{"word": "hello", "start": 0.1, "end": 0.4, "probability": 0.9}],
    "usage": {"type": "duration", "seconds": 3},
}


def decode(body: dict[str, Any], expected: type[Any]) -> Any:
    return decode_json(json.dumps(body).encode(), expected)


def test_a_json_answer() -> None:
    body = {
        "text": "hi",
        "usage": USAGE,
        "logprobs": [{"token": "hi", "bytes": [104, 105], "logprob": -0.5}],
        "languages": [{"code": "en"}],
    }
    assert decode(body, Transcription) == Transcription(
        text="hi",
        usage=TokenUsage(
            input_tokens=60,
            output_tokens=3,
            total_tokens=63,
            input_token_details=InputTokenDetails(audio_tokens=50, text_tokens=10),
        ),
        logprobs=(TokenLogprob(token="hi", bytes=(104, 105), logprob=-0.5),),
        languages=(Language(code="en"),),
    )


def test_a_verbose_json_answer() -> None:
    answer = decode(VERBOSE, VerboseTranscription)
    assert json.loads(msgspec.json.encode(answer)) == {**VERBOSE, "warnings": []}  # those come in a header
    assert answer.words == (Word(word="hello", start=0.1, end=0.4, probability=0.9),)
    assert answer.usage == DurationUsage(seconds=3.0)


def test_words_nobody_asked_for_are_none() -> None:
    body = {name: value for name, value in VERBOSE.items() if name != "words"}
    assert decode(body, VerboseTranscription).words is None


def test_a_diarized_json_answer() -> None:
    segment = {
        "type": "transcript.text.segment",
        "id": "seg_0",
        "start": 0,
        "end": 1.5,
        "speaker": "A",
        "text": "hi",
    }
    body = {"task": "transcribe", "duration": 1.5, "text": "hi", "segments": [segment]}
    assert decode(body, DiarizedTranscription).segments == (
        SpeakerSegment(id="seg_0", start=0.0, end=1.5, speaker="A", text="hi"),
    )


def test_a_list_of_models() -> None:
    body = b'{"object":"list","data":[{"id":"tiny","object":"model","created":1,"owned_by":"ibm"}]}'
    assert decode_models(body) == (Model(id="tiny", created=1, owned_by="ibm"),)


def test_fields_of_a_newer_server_are_ignored() -> None:
    segment = SEGMENT | {"mood": "good"}
    assert decode(VERBOSE | {"segments": [segment], "new": 1}, VerboseTranscription) == decode(
        VERBOSE, VerboseTranscription
    )


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"usage": null}', Transcription),
        (b'"just a string"', Transcription),
        (b'{"text": "hi"', Transcription),
        (b'{"text": "\xff"}', Transcription),
        (json.dumps(VERBOSE | {"duration": "2.5"}).encode(), VerboseTranscription),
        (json.dumps(VERBOSE | {"segments": [{}]}).encode(), VerboseTranscription),
    ],
)
def test_an_answer_that_breaks_the_contract_is_an_error(body: bytes, expected: type[Any]) -> None:
    with pytest.raises(UnexpectedResponseError, match=f"no {expected.__name__}"):
        decode_json(body, expected)


def test_a_text_that_is_not_utf8_is_an_error() -> None:
    with pytest.raises(UnexpectedResponseError, match="UTF-8"):
        decode_text(b"\xff")


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Transcription, sdk.Transcription),
        (VerboseTranscription, sdk.TranscriptionVerbose),
        (DiarizedTranscription, sdk.TranscriptionDiarized),
        (Translation, sdk.Translation),
        (Segment, sdk.TranscriptionSegment),
        (Word, sdk.TranscriptionWord),
        (SpeakerSegment, sdk.TranscriptionTextSegmentEvent),
        (SpeakerSegment, sdk.TranscriptionDiarizedSegment),
        (TextDelta, sdk.TranscriptionTextDeltaEvent),
        (Done, sdk.TranscriptionTextDoneEvent),
        (TokenLogprob, Logprob),
        (TokenUsage, UsageTokens),
        (InputTokenDetails, UsageTokensInputTokenDetails),
        (DurationUsage, VerboseUsage),
        (Language, TranscriptionLanguage),
        (Model, openai.types.Model),
    ],
    ids=lambda struct: struct.__name__,
)
def test_no_field_of_openais_types_is_missing(ours: type[msgspec.Struct], theirs: Any) -> None:
    names = {*ours.__struct_fields__, ours.__struct_config__.tag_field}
    assert theirs.model_fields.keys() - names <= {"shutdown_date"}  # OpenAI's own models retire, these do not
