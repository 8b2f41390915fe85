"""Which transformers classes run which architecture. transformers takes seconds to import and is, when it is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from lithophone.backends.transformers_backend.configuration import ModelConfig, SpeechConfig, TextConfig
from lithophone.granite.family import Architecture

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel


def model_class(architecture: Architecture) -> type[PreTrainedModel]:
    """The class to load or build a model with."""
    from transformers import (  # noqa: PLC0415 - see the top
        GraniteSpeech5ForCTC,
        GraniteSpeechForConditionalGeneration,
        GraniteSpeechPlusForConditionalGeneration,
    )

    return {
        Architecture.SPEECH: GraniteSpeechForConditionalGeneration,
        Architecture.SPEECH_PLUS: GraniteSpeechPlusForConditionalGeneration,
        Architecture.CTC: GraniteSpeech5ForCTC,
    }[architecture]


def transformers_config(config: ModelConfig) -> PreTrainedConfig:
    """The same in transformers' own terms: the fields that were read, its defaults for those left out."""
    from transformers import (  # noqa: PLC0415 - see the top
        GraniteSpeech5CTCConfig,
        GraniteSpeechConfig,
        GraniteSpeechPlusConfig,
    )

    config_class: Any = {
        Architecture.SPEECH: GraniteSpeechConfig,
        Architecture.SPEECH_PLUS: GraniteSpeechPlusConfig,
        Architecture.CTC: GraniteSpeech5CTCConfig,
    }[Architecture(config.model_type)]
    said: dict[str, Any] = _said(msgspec.to_builtins(config))
    if isinstance(config, SpeechConfig):
        said.setdefault("has_lora_adapter", False)
        said["text_config"]["rope_parameters"] = {
            "rope_type": "default",
            "rope_theta": _rope_theta(config.text_config),
        }
    return config_class(**said)


def _said(written: dict[str, Any]) -> dict[str, Any]:
    """Without the fields that are null, which mean a default, and those of rotations, which have several spellings."""
    return {
        name: _said(value) if isinstance(value, dict) else value
        for name, value in written.items()
        if value is not None and not name.startswith("rope_")
    }


def _rope_theta(text: TextConfig) -> float:
    """In the order in which transformers takes the spellings."""
    written = (text.rope_scaling, text.rope_parameters)
    named = [rope.rope_theta for rope in written if rope is not None and rope.rope_theta is not None]
    return next(iter(named), None) or text.rope_theta or 10_000.0
