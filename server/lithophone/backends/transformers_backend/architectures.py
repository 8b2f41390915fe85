"""Which transformers class runs which architecture. transformers takes seconds to import and is, when it is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lithophone.granite.family import Architecture

if TYPE_CHECKING:
    from transformers import PreTrainedModel


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
