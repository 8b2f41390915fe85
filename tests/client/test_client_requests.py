"""What goes onto the wire."""

from __future__ import annotations

import email
import email.policy
import io
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lithophone_client import ServerVad
from lithophone_client._multipart import multipart_form
from lithophone_client._requests import (
    DiarizationOptions,
    JsonOptions,
    TranslationOptions,
    VerboseOptions,
    form_fields,
    model_call,
    transcription_call,
    translation_call,
)
from lithophone_client._uploads import remaining_bytes, upload_of

LATIN = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\r\n\0"))


def fields_of(options: dict[str, Any], allowed: type = JsonOptions) -> dict[str, str]:
    return dict(transcription_call(b"RIFF", options, allowed, "json").fields)


def test_what_is_not_given_is_not_sent() -> None:
    assert fields_of({}) == {"model": "whisper-1", "response_format": "json"}
    assert fields_of({"language": None, "keywords": None, "temperature": None}) == fields_of({})


def test_a_zero_and_an_empty_text_are_sent() -> None:
    assert (
        fields_of({"temperature": 0.0, "prompt": ""}).items() >= {"temperature": "0.0", "prompt": ""}.items()
    )


def test_lists_are_sent_with_brackets_once_for_each_item() -> None:
    assert form_fields({"keywords": ["a", "b"], "languages": ()}) == (
        ("keywords[]", "a"),
        ("keywords[]", "b"),
    )


def test_voice_detection_is_sent_as_json_without_what_was_left_open() -> None:
    vad = ServerVad(threshold=0.5, silence_duration_ms=200)
    sent = fields_of({"chunking_strategy": vad})["chunking_strategy"]
    assert sent == '{"type":"server_vad","threshold":0.5,"silence_duration_ms":200}'
    assert fields_of({"chunking_strategy": "auto"})["chunking_strategy"] == "auto"


def test_a_stream_is_asked_for_with_a_lowercase_word() -> None:
    call = transcription_call(b"RIFF", {}, JsonOptions, "json", stream=True)
    assert dict(call.fields)["stream"] == "true"


def test_a_translation_asks_its_own_path() -> None:
    call = translation_call(b"RIFF", {"prompt": "hello"})
    assert call.path == "/v1/audio/translations"
    assert dict(call.fields) == {"model": "whisper-1", "response_format": "json", "prompt": "hello"}


@pytest.mark.parametrize(
    ("option", "allowed"),
    [
        ("timestamp_granularities", JsonOptions),
        ("include", VerboseOptions),
        ("langauge", JsonOptions),
        ("known_speaker_names", JsonOptions),
        ("language", TranslationOptions),
        ("stream", DiarizationOptions),
    ],
)
def test_an_option_the_method_does_not_take_is_refused(option: str, allowed: type) -> None:
    with pytest.raises(TypeError, match=option):
        fields_of({option: None}, allowed)


def test_one_string_is_not_taken_for_a_list_of_letters() -> None:
    with pytest.raises(TypeError, match="keywords must be a list"):
        fields_of({"keywords": "granite"})


def test_a_value_without_a_form_on_the_wire_is_refused() -> None:
    with pytest.raises(TypeError, match="prompt cannot be bytes"):
        fields_of({"prompt": b"x"})


def test_slashes_in_a_model_id_stay_inside_one_path_segment() -> None:
    assert model_call("ibm-granite/granite speech").path == "/v1/models/ibm-granite%2Fgranite%20speech"


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["prompt", "keywords[]"]), LATIN), max_size=4), LATIN, st.binary())
def test_a_standard_parser_reads_the_form_back(
    fields: list[tuple[str, str]], file_name: str, audio: bytes
) -> None:
    form = multipart_form(fields, file_name, boundary="b" * 40)
    body = form.head + audio + form.tail
    assert form.content_length(len(audio)) == len(body)
    header = f"Content-Type: {form.content_type}\r\n\r\n".encode()
    parts = list(email.message_from_bytes(header + body, policy=email.policy.HTTP).iter_parts())
    values = [part.get_payload(decode=True) for part in parts]
    names = [part.get_param("name", header="Content-Disposition") for part in parts]
    assert values == [*(value.encode() for _, value in fields), audio]
    assert names == [*(name for name, _ in fields), "file"]


@pytest.mark.parametrize(
    ("file_name", "sent"),
    [
        ('a".wav', b'filename="a%22.wav"'),
        ("a\r\nX: y", b'filename="a%0D%0AX: y"'),
        ("é.wav", "é.wav".encode()),
    ],
)
def test_a_file_name_cannot_break_out_of_its_header(file_name: str, sent: bytes) -> None:
    assert sent in multipart_form((), file_name, "b").head


def read(file: Any) -> tuple[str, bytes, int | None, bool]:
    upload = upload_of(file)
    with upload.open() as reader:
        size = remaining_bytes(reader)
        return upload.name, reader.read(), size, upload.can_be_resent


def test_bytes_have_no_name_of_their_own() -> None:
    assert read(b"abc") == ("audio", b"abc", 3, True)


def test_a_path_gives_the_name_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "talk.wav"
    path.write_bytes(b"abc")
    assert read(path) == read(str(path)) == ("talk.wav", b"abc", 3, True)


def test_a_file_object_is_sent_from_where_it_stands_each_time(tmp_path: Path) -> None:
    path = tmp_path / "talk.wav"
    path.write_bytes(b"abcdef")
    with path.open("rb") as file:
        file.seek(2)
        upload = upload_of(file)
        for _ in range(2):
            with upload.open() as reader:
                assert (remaining_bytes(reader), reader.read()) == (4, b"cdef")
        assert not file.closed


def test_a_pipe_has_no_length_and_is_sent_once() -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "wb") as writer:
        writer.write(b"abc")
    with os.fdopen(read_end, "rb") as pipe:
        assert read(pipe) == ("audio", b"abc", None, False)


@pytest.mark.parametrize("file", [io.StringIO("text"), None, 7])
def test_what_is_not_binary_is_refused(file: Any) -> None:
    with pytest.raises(TypeError, match="file must be a path, bytes or a file open in binary mode"):
        upload_of(file)
