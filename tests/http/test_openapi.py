from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from lithophone import __version__
from lithophone.http.forms import TranscriptionForm, TranslationForm
from lithophone.http.openapi import FORM_FIELDS, TRANSLATION_FIELDS
from tests.golden import Golden
from tests.http.conftest import Live


@pytest.fixture
def description(server: Live) -> dict[str, Any]:
    response = server.client.get("/schema")
    assert response.headers["content-type"] == "application/vnd.oai.openapi+json"
    return response.json()


def test_the_description_is_as_it_was(golden: Golden, description: dict[str, Any]) -> None:
    assert description["info"]["version"] == __version__
    info = description["info"] | {"version": "x"}
    golden("openapi.json", json.dumps(description | {"info": info}, indent=1).encode() + b"\n")


def test_every_failure_is_described_in_the_error_shape(description: dict[str, Any]) -> None:
    failures = [
        content["schema"]["$ref"]
        for operations in description["paths"].values()
        for operation in operations.values()
        for status, response in operation["responses"].items()
        if int(status) >= 400
        for content in response["content"].values()
    ]
    assert len(failures) > 10
    assert set(failures) == {"#/components/schemas/ErrorEnvelope"}


def test_the_described_form_is_the_parsed_one() -> None:
    for form, described in ((TranscriptionForm, FORM_FIELDS), (TranslationForm, TRANSLATION_FIELDS)):
        fields = {field.name for field in msgspec.structs.fields(form)}
        assert {name.removesuffix("[]") for name in described} == fields | {"file"}
    lists = {name for name in FORM_FIELDS if name.endswith("[]")}
    assert all(FORM_FIELDS[name].items is not None for name in lists)


def test_every_format_of_the_answer_is_described(description: dict[str, Any]) -> None:
    success = description["paths"]["/v1/audio/transcriptions"]["post"]["responses"]["200"]["content"]
    assert set(success) == {
        "application/json",
        "text/plain",
        "application/x-subrip",
        "text/vtt",
        "text/event-stream",
    }


def test_keys_are_described_where_they_are_asked_for(description: dict[str, Any]) -> None:
    for path, operations in description["paths"].items():
        for operation in operations.values():
            assert ("security" in operation) is path.startswith("/v1/")
