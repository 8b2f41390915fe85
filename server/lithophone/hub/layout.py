"""Which files of a repository make a model.

Owns the names. Pure: it is told which names there are, and what the index of the weights says. A repository holds more than
a model takes: samples, signatures, weights of another part (`BPE_HEAD`), code that is never run, and the
3.3 ones a second set of the same shards; only the set that the index names is fetched.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta

from lithophone.errors import CheckpointError

CONFIG: Final = "config.json"
ADAPTER_CONFIG: Final = "adapter_config.json"
ADAPTER: Final = "adapter_model.safetensors"
WEIGHTS: Final = "model.safetensors"
WEIGHTS_INDEX: Final = "model.safetensors.index.json"
INDEX_BYTES: Final = 16 << 20  # that of 4.1 has 84 kB for 954 tensors

TOKENIZER_CONFIG: Final = "tokenizer_config.json"
CHAT_TEMPLATE: Final = "chat_template.jinja"
BPE_HEAD: Final = "out_llm.safetensors"  # a second CTC head of 4.1-2b, which is not used

CONFIG_FILES: Final = (CONFIG, ADAPTER_CONFIG, TOKENIZER_CONFIG, CHAT_TEMPLATE)
"""What tells which model it is and how large."""

TOKENIZER_FILES: Final = (
    "tokenizer.json",
    TOKENIZER_CONFIG,
    "special_tokens_map.json",
    "added_tokens.json",
    CHAT_TEMPLATE,
    "vocab.json",
    "merges.txt",
)

SMALL_FILES: Final = tuple(dict.fromkeys((*CONFIG_FILES, "generation_config.json", *TOKENIZER_FILES)))
"""All that is read beside the weights."""


class _Index(msgspec.Struct, frozen=True):
    """Which file holds which tensor."""

    weight_map: Annotated[dict[str, str], Meta(min_length=1)]


class _Adapted(msgspec.Struct, frozen=True):
    has_lora_adapter: bool | None = None


class _TokenizerConfig(msgspec.Struct, frozen=True):
    chat_template: object = None


_Said = TypeVar("_Said")


def small_files(there: Collection[str]) -> tuple[str, ...]:
    """Those of the names that are read beside the weights; the index too, where the weights are in shards."""
    names = (*SMALL_FILES, *(() if WEIGHTS in there else (WEIGHTS_INDEX,)))
    return tuple(name for name in names if name in there)


def weight_files(there: Collection[str], index: bytes | None) -> tuple[str, ...]:
    """The weights: one file, or those that the index names, and the adapter where there is one.

    Raises:
        CheckpointError: there are none, the index cannot be read, or a file that it names is not there.
    """
    adapter = (ADAPTER,) if ADAPTER in there else ()
    if WEIGHTS in there:
        return (WEIGHTS, *adapter)
    if index is None:
        raise CheckpointError(f"it holds no weights in safetensors ({WEIGHTS})")
    shards = _shards(index)
    for name in shards:
        if name not in there:
            raise CheckpointError(f"it lacks {name[:100]!r}, which {WEIGHTS_INDEX} names")
    return (*shards, *adapter)


def lacking(
    there: Collection[str], config: bytes, tokenizer_config: bytes | None, index: bytes | None
) -> str | None:
    """The first file that a model with these would miss; None where it is whole, as far as names tell.

    Raises:
        CheckpointError: the index of the weights cannot be read.
    """
    wanted: list[str] = [CONFIG]
    if "tokenizer.json" not in there and not {"vocab.json", "merges.txt"} <= set(there):
        wanted.append("tokenizer.json")
    if _has_adapter(config):
        wanted += [ADAPTER_CONFIG, ADAPTER]
    if ADAPTER_CONFIG in there:
        wanted.append(ADAPTER)
    if b'"granite_speech5_ctc"' not in config and not _has_template(tokenizer_config):
        wanted.append(CHAT_TEMPLATE)
    wanted += [WEIGHTS] if index is None or WEIGHTS in there else _shards(index)
    return next((name for name in wanted if name not in there), None)


def _shards(index: bytes) -> tuple[str, ...]:
    try:
        names = set(msgspec.json.decode(index, type=_Index).weight_map.values())
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"its {WEIGHTS_INDEX} cannot be read: {error}") from error
    return tuple(sorted(names))


def _has_adapter(config: bytes) -> bool:
    said = _decoded(config, _Adapted)
    return said is not None and bool(said.has_lora_adapter)


def _has_template(tokenizer_config: bytes | None) -> bool:
    said = None if tokenizer_config is None else _decoded(tokenizer_config, _TokenizerConfig)
    return said is not None and said.chat_template is not None


def _decoded(content: bytes, kind: type[_Said]) -> _Said | None:
    """None for what is damaged: whoever loads it says what is wrong."""
    try:
        return msgspec.json.decode(content, type=kind)
    except (ValueError, RecursionError):
        return None
