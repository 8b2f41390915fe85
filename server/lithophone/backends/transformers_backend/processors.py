"""Tokenizers and processors of checkpoints, and whether they belong to the model beside them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from transformers import (
    AutoTokenizer,
    GraniteSpeech5Processor,
    GraniteSpeechProcessor,
    PreTrainedTokenizerBase,
)

from lithophone.backends.transformers_backend.architectures import transformers_config
from lithophone.backends.transformers_backend.chat_template import prompt_frame
from lithophone.backends.transformers_backend.configuration import CtcConfig, ModelConfig, SpeechConfig
from lithophone.backends.transformers_backend.extractors import DeltaLogMelExtractor, StackedLogMelExtractor
from lithophone.backends.transformers_backend.folder import is_there, require_file
from lithophone.backends.transformers_backend.refusals import refuse_unusable
from lithophone.errors import CheckpointError
from lithophone.granite.family import ModelSpec
from lithophone.granite.prompts import AUDIO_TOKEN
from lithophone.hub.layout import TOKENIZER_FILES

TOKENIZER_BYTES: Final = 64 << 20  # a tokenizer of 100,000 tokens has 7 MB


def _load_tokenizer(folder: Path, config: ModelConfig) -> PreTrainedTokenizerBase:
    """The checkpoint's tokenizer.

    Raises:
        CheckpointError: there is none, or it cannot be read.
    """
    for name in TOKENIZER_FILES:
        if is_there(folder / name):
            require_file(folder / name, TOKENIZER_BYTES)
    with refuse_unusable(f"{folder}: the tokenizer"):
        return AutoTokenizer.from_pretrained(
            folder, config=transformers_config(config), local_files_only=True, trust_remote_code=False
        )


def speech_processor(folder: Path, spec: ModelSpec, config: SpeechConfig, end_tokens: Sequence[int]) -> Any:
    """The processor of a 3.x or 4.x checkpoint, around the torch-only extractor.

    Raises:
        CheckpointError: no tokenizer, or not the one that belongs to the model, or no usable chat template.
    """
    tokenizer = _load_tokenizer(folder, config)
    _require_tokens(folder, tokenizer, config, end_tokens)
    prompt_frame(spec, tokenizer)  # refuses; it is remembered until the model is there
    extractor = StackedLogMelExtractor(config.window_size, config.downsample_rate)
    return GraniteSpeechProcessor(extractor, tokenizer, chat_template=tokenizer.chat_template)


def _require_tokens(folder: Path, tokenizer: Any, config: SpeechConfig, end_tokens: Sequence[int]) -> None:
    """Every token that a prompt can hold has an embedding, and the two that the loop goes by mean what they should."""
    written = tokenizer.encode(AUDIO_TOKEN, add_special_tokens=False)
    if written != [config.audio_token_index]:
        raise CheckpointError(
            f"{folder}: the tokenizer writes {AUDIO_TOKEN} as {written}, and config.json says audio_token_index "
            f"{config.audio_token_index}: they are not of the same model"
        )
    known = set(tokenizer.get_vocab().values())
    unknown = [token for token in end_tokens if token not in known]
    if unknown:
        raise CheckpointError(f"{folder}: the tokenizer does not know the end token {unknown[0]}")
    largest = max(known - {config.audio_token_index})
    if largest >= config.text_config.vocab_size:
        raise CheckpointError(
            f"{folder}: the tokenizer has a token {largest}, and the model a vocabulary of "
            f"{config.text_config.vocab_size} tokens: they are not of the same model"
        )


def ctc_processor(folder: Path, config: CtcConfig) -> Any:
    """The processor of a 5.0 checkpoint, around the torch-only extractor.

    Raises:
        CheckpointError: no tokenizer, or not the one that belongs to the model.
    """
    tokenizer = _load_tokenizer(folder, config)
    known = sum(label < config.vocab_size for label in tokenizer.get_vocab().values())
    if known <= config.vocab_size // 2:  # a vocabulary may be padded, but not to twice its size
        raise CheckpointError(
            f"{folder}: the tokenizer knows {known} of the model's {config.vocab_size} labels: they are not of the same "
            f"model"
        )
    return GraniteSpeech5Processor(DeltaLogMelExtractor(), tokenizer)


def concurrent_decoder(tokenizer: Any) -> Callable[[Sequence[int]], str]:
    """Tokens to text, control tokens left out, from any thread while another uses `tokenizer`.

    The tokenizers library forbids to read a tokenizer while it is being set up anew, which transformers does whenever
    truncation or padding change; hence a copy that nobody sets up.
    """
    own = copy.deepcopy(tokenizer)

    def decode(tokens: Sequence[int]) -> str:
        return str(own.decode(list(tokens), skip_special_tokens=True))

    return decode
