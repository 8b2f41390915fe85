"""A form as JSON Schema, for whoever reads `/schema`.

Owns how a form's struct is described: msgspec's schema of it, in one piece, with the names and the bare words that
`forms` reads. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from lithophone.http.forms import fields_of

JsonSchema = dict[str, Any]

FILE: JsonSchema = {
    "type": "string",
    "format": "binary",
    "description": "Audio, or video with sound; the format is told by the bytes",
}
_OF_COMPONENTS = {"$ref", "title", "discriminator"}  # mean nothing once all is in one piece
_SAY_NOTHING = (None, "", ())  # defaults that are as good as an absent field


def form_schema(kind: type[msgspec.Struct]) -> JsonSchema:
    """The schema of the multipart body that makes a form of this kind, the file included. Other fields are passed over."""
    _, components = msgspec.json.schema_components((kind,), ref_template="{name}")
    form = _inlined({"$ref": kind.__name__}, components)
    fields = {
        f"{name}[]" if field.is_list else name: _as_sent(form["properties"][name])
        for name, field in fields_of(kind).items()
    }
    return {
        "type": "object",
        "properties": {"file": FILE} | fields,
        "required": ["file", *form["required"]],
        "additionalProperties": True,
    }


def _inlined(schema: JsonSchema, components: Mapping[str, JsonSchema]) -> JsonSchema:
    """The schema with what it refers to written out: Litestar fills the document's components, with its own alone."""
    whole = components.get(schema.get("$ref", ""), {}) | schema
    if "anyOf" in whole:
        whole["anyOf"] = [_inlined(part, components) for part in whole["anyOf"]]
    if "items" in whole:
        whole["items"] = _inlined(whole["items"], components)
    if "properties" in whole:
        whole["properties"] = {name: _inlined(part, components) for name, part in whole["properties"].items()}
    if "enum" in whole:
        whole = {"type": "string"} | whole  # msgspec names the values alone
    return {key: part for key, part in whole.items() if key not in _OF_COMPONENTS}


def _as_sent(schema: JsonSchema) -> JsonSchema:
    """A field of a form: it is left out rather than null, and an object's type alone stands for the object."""
    sent = {key: part for key, part in schema.items() if key != "default" or part not in _SAY_NOTHING}
    if "anyOf" in sent:
        choices = list(_choices(sent))
        types = [name for choice in choices for name in _types(choice)]
        sent["anyOf"] = [{"type": "string", "enum": types}, *choices] if types else choices
    return sent


def _choices(schema: JsonSchema) -> Iterator[JsonSchema]:
    """What a value may be, but null."""
    if "anyOf" in schema:
        for part in schema["anyOf"]:
            yield from _choices(part)
    elif schema["type"] != "null":
        yield schema


def _types(schema: JsonSchema) -> Sequence[str]:
    """What an object may have as its `type`."""
    return schema["properties"]["type"]["enum"] if schema["type"] == "object" else ()
