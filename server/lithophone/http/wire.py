"""What goes over the wire beside transcripts, name for name as OpenAI's SDK types have it.

Owns the structs of errors, models, probes and the front door; those of a transcript are `lithophone.formats.shapes`.
"""

from __future__ import annotations

from typing import Literal

import msgspec


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True):
    """OpenAI's error object."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorEnvelope(msgspec.Struct, frozen=True):
    """Body of every answer that is not a success."""

    error: ErrorBody


class ModelDetails(msgspec.Struct, frozen=True, kw_only=True):
    """What OpenAI's model object has no field for.

    `alias_of` names the model that answers where the id is an alias; `note` is for the person who reads it, and
    `stands_for` names the model that a demonstration is shaped like. `speakers`, `keywords` and `translates_to` are what
    it can do beside writing down what is said. `state` is
    `cold` (loaded on demand), `loading`, `ready`, `restarting`, `failed` or `stopped`; `memory_bytes` is the most it was
    seen to take, null before it was first loaded. `revision` is the commit on the hub that was loaded last, null for a
    folder; `license` is what the weights may be used under.
    """

    alias_of: str | None
    aliases: tuple[str, ...]
    languages: tuple[str, ...]
    translates_to: tuple[str, ...]
    speakers: bool
    keywords: bool
    parameters: int
    state: str
    memory_bytes: int | None
    device: str | None
    dtype: str | None
    revision: str | None
    license: str
    note: str | None
    stands_for: str | None


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model, or an alias of one."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    lithophone: ModelDetails


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    """The served models first, then their aliases."""

    object: Literal["list"] = "list"
    data: tuple[Model, ...]


class Welcome(msgspec.Struct, frozen=True, kw_only=True):
    """What `/` says to a program that takes JSON: who answers here, and what a page or client has to know first.

    `model` and `state` are those of the default model; `needs_key` says that `/v1` asks for an API key, `realtime` that
    live sessions are held at `/v1/realtime`, `note` what a demonstration model says of itself.
    """

    name: Literal["lithophone"] = "lithophone"
    version: str
    model: str
    state: str
    schema: str
    max_upload_bytes: int
    needs_key: bool
    realtime: bool
    note: str | None


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """A transcription by the default model would be answered; `models` are the states of all, by name.

    `device` and `dtype` are null until it was loaded.
    """

    status: Literal["ready"] = "ready"
    state: str
    model: str
    device: str | None
    dtype: str | None
    models: dict[str, str]
