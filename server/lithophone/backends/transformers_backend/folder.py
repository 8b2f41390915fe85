"""The small files of a checkpoint's folder, read within limits before anything is built of them.

Owns that every file is a plain one of a likely size, and that what is wrong is said with file, field and reason.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from lithophone.backends.transformers_backend.configuration import (
    AdapterConfig,
    CtcConfig,
    GenerationConfig,
    ModelConfig,
    SpeechConfig,
)
from lithophone.errors import CheckpointError
from lithophone.granite.family import Architecture
from lithophone.hub.layout import ADAPTER_CONFIG, CHAT_TEMPLATE, CONFIG, TOKENIZER_CONFIG

GENERATION_CONFIG: Final = "generation_config.json"

CONFIG_BYTES: Final = 1 << 20
"""The largest configuration that is read; a published one has 6 kB."""

_Read = TypeVar("_Read")


class _Kind(msgspec.Struct, frozen=True):
    model_type: str


class _SavedWith(msgspec.Struct, frozen=True):
    transformers_version: str | None = None


class _TokenizerConfig(msgspec.Struct, frozen=True):
    chat_template: object = None


def read_config(folder: Path) -> ModelConfig:
    """What `config.json` says.

    Raises:
        CheckpointError: there is none, it is no model of the family, or a value cannot be; names file, field and why.
    """
    file = folder / CONFIG
    if not is_there(file):
        raise CheckpointError(f"{folder} holds no {CONFIG}: it is not a model checkpoint")
    kind = read_json(file, _Kind).model_type
    known = sorted(architecture.value for architecture in Architecture)
    if kind not in known:
        raise CheckpointError(
            f"{file}: model_type {kind[:60]!r} is not a Granite Speech model this server runs (it runs: {', '.join(known)})"
        )
    if kind == Architecture.CTC.value:
        return read_json(file, CtcConfig)
    return read_json(file, SpeechConfig)


def read_adapter_config(folder: Path) -> AdapterConfig | None:
    """What `adapter_config.json` says; None without one.

    Raises:
        CheckpointError: it cannot be read, or is not of a plain LoRA.
    """
    file = folder / ADAPTER_CONFIG
    return read_json(file, AdapterConfig) if is_there(file) else None


def read_end_tokens(folder: Path, config: SpeechConfig) -> tuple[int, ...]:
    """The tokens that end a text: those of `generation_config.json`, else those of `config.json`.

    Raises:
        CheckpointError: neither names one, the file cannot be read, or a token is outside of the vocabulary.
    """
    file, end = folder / GENERATION_CONFIG, None
    if is_there(file):
        end = read_json(file, GenerationConfig).eos_token_id
    if end is None:
        file = folder / CONFIG
        end = config.eos_token_id if config.eos_token_id is not None else config.text_config.eos_token_id
    if end is None:
        raise CheckpointError(f"{file}: eos_token_id is missing: no token would end a transcript")
    tokens = tuple(end) if isinstance(end, list) else (end,)
    if max(tokens) >= config.text_config.vocab_size:
        size = config.text_config.vocab_size
        raise CheckpointError(
            f"{file}: eos_token_id {max(tokens)} is outside of the vocabulary of {size} tokens"
        )
    return tokens


def read_saved_with(folder: Path) -> tuple[int, int] | None:
    """The version of transformers that wrote `config.json`, major and minor; None where it does not say."""
    said = _told(folder / CONFIG, _SavedWith)
    found = re.match(r"(\d{1,4})\.(\d{1,4})\b", said.transformers_version or "") if said is not None else None
    return (int(found[1]), int(found[2])) if found else None


def read_chat_template(folder: Path) -> str | None:
    """The chat template, from its own file or from the tokenizer's; None where there is none that can be read."""
    if is_there(folder / CHAT_TEMPLATE):
        try:
            require_file(folder / CHAT_TEMPLATE, CONFIG_BYTES)
            return (folder / CHAT_TEMPLATE).read_text(encoding="utf-8")
        except (CheckpointError, OSError, ValueError):
            return None
    said = _told(folder / TOKENIZER_CONFIG, _TokenizerConfig)
    return None if said is None or said.chat_template is None else str(said.chat_template)


def _told(file: Path, kind: type[_Read]) -> _Read | None:
    """None for what is missing or damaged: whoever needs the file says what is wrong."""
    try:
        return read_json(file, kind)
    except CheckpointError:
        return None


def read_json(file: Path, kind: type[_Read], most_bytes: int = CONFIG_BYTES) -> _Read:
    """A JSON file as `kind`.

    Raises:
        CheckpointError: it cannot be read, is larger than `most_bytes`, or does not say what `kind` takes.
    """
    require_file(file, most_bytes)
    try:
        return msgspec.json.decode(file.read_bytes(), type=kind)
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error.strerror}") from error
    except RecursionError as error:
        raise CheckpointError(f"{file} cannot be read: it is nested too deeply") from error
    except msgspec.ValidationError as error:
        raise CheckpointError(f"{file}: {_field_first(str(error))}") from error
    except ValueError as error:
        raise CheckpointError(f"{file} cannot be read: {error}") from error


def is_there(file: Path) -> bool:
    """Whether a folder has something of this name, be it a link that leads nowhere.

    Raises:
        CheckpointError: one may not look.
    """
    try:
        file.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error.strerror}") from error
    return True


def require_file(file: Path, most_bytes: int) -> None:
    """Refuse what is no plain file, may not be read, or is too large to be what it is called.

    Raises:
        CheckpointError: a folder, a pipe, a link that leads nowhere, a secret, or more than `most_bytes`.
    """
    try:
        size_bytes = file.stat().st_size
        if not file.is_file():
            raise CheckpointError(f"{file} cannot be read: it is not a file")
        file.open("rb").close()
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error.strerror}") from error
    if size_bytes > most_bytes:
        raise CheckpointError(
            f"{file} has {size_bytes / 1e6:.0f} MB, more than the {most_bytes / 1e6:.0f} MB such a file may have"
        )


def _field_first(message: str) -> str:
    """What msgspec says, "Expected `int` >= 1 - at `$.text_config.hidden_size`", the other way round."""
    what, _, where = message.rpartition(" - at `$.")
    return f"{where.rstrip('`')}: {what[:1].lower()}{what[1:]}" if what else message
