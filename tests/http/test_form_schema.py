"""A form's schema follows from its struct: a new field is described without another line."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from lithophone.http.form_schema import form_schema
from lithophone.http.forms import Granularity, ServerVad


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """A form that nobody sends."""

    title: str
    beams: Annotated[Annotated[int, Meta(ge=1)] | None, Meta(description="How many")] = None
    sizes: Annotated[tuple[Annotated[float, Meta(gt=0)], ...], Meta(description="Of the shoes")] = ()
    shown: tuple[Granularity, ...] = (Granularity.WORD,)
    cut: ServerVad | None = None


def test_a_list_is_named_as_it_is_sent_and_what_is_required_is_said() -> None:
    schema = form_schema(Wishes)
    assert list(schema["properties"]) == ["file", "title", "beams", "sizes[]", "shown[]", "cut"]
    assert schema["required"] == ["file", "title"]
    assert schema["additionalProperties"] is True


def test_ranges_choices_and_defaults_are_said() -> None:
    fields = form_schema(Wishes)["properties"]
    assert fields["title"] == {"type": "string"}
    assert fields["beams"] == {"description": "How many", "anyOf": [{"type": "integer", "minimum": 1}]}
    sizes = {"type": "array", "items": {"type": "number", "exclusiveMinimum": 0}}
    assert fields["sizes[]"] == {"description": "Of the shoes"} | sizes
    assert fields["shown[]"]["items"]["enum"] == ["segment", "word"]
    assert fields["shown[]"]["items"]["type"] == "string"
    assert list(fields["shown[]"]["default"]) == ["word"]


def test_an_object_may_be_its_type_alone() -> None:
    bare, whole = form_schema(Wishes)["properties"]["cut"]["anyOf"]
    assert bare == {"type": "string", "enum": ["server_vad"]}
    assert whole["properties"]["prefix_padding_ms"]["anyOf"][0] == {
        "type": "integer",
        "minimum": 0,
        "maximum": 30_000,
    }
