from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from lithophone import __version__
from lithophone.backends.fake import LoudnessDetector
from lithophone.http.forms import TranscriptionForm, TranslationForm
from tests.golden import Golden
from tests.http.conftest import serving


@pytest.fixture(scope="module")
def description() -> dict[str, Any]:
    with serving(voice=LoudnessDetector()) as live:
        response = live.client.get("/schema")
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


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/v1/audio/transcriptions", TranscriptionForm), ("/v1/audio/translations", TranslationForm)],
)
def test_every_field_of_a_form_is_described(
    description: dict[str, Any], path: str, kind: type[msgspec.Struct]
) -> None:
    body = description["paths"][path]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    fields = {name.removesuffix("[]"): field for name, field in body["properties"].items()}
    assert set(fields) == {field.name for field in msgspec.structs.fields(kind)} | {"file"}
    assert body["required"] == ["file", "model"]
    assert all(len(field["description"]) > 10 for field in fields.values())
    assert "$" not in json.dumps(body)
    for name, field in body["properties"].items():
        assert (field.get("type") == "array") == name.endswith("[]")


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
            assert ("security" in operation) is path.startswith(("/v1/", "/metrics"))


def test_no_answer_is_said_to_fit_one_description_alone(description: dict[str, Any]) -> None:
    for operations in description["paths"].values():
        for operation in operations.values():
            described = operation["responses"].get("200", {}).get("content", {}).get("application/json", {})
            assert "oneOf" not in described.get("schema", {})
