"""Models of the family's shapes with weights that have learned nothing, made in seconds.

Owns the published figures that random weights are built from, and a tokenizer to go with them. What such a model says
means nothing; what it costs is what the real one costs. The tokens it says follow from the weights' construction: the
embeddings outweigh the layers, so that a tied head repeats the last token and an untied one, whose rows are the
embeddings moved by one, counts upwards, both far ahead of any other choice. A coin toss at every token would say
nothing about a trained model, which is sure of most.
"""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor, nn
from transformers import (
    GraniteSpeech5CTCConfig,
    GraniteSpeech5Processor,
    GraniteSpeechConfig,
    GraniteSpeechPlusConfig,
    GraniteSpeechProcessor,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.initialization import no_init_weights
from transformers.models.parakeet.tokenization_parakeet import ParakeetTokenizer

from lithophone.backends.device.plan import DevicePlan
from lithophone.backends.transformers_backend.architectures import model_class
from lithophone.backends.transformers_backend.extractors import DeltaLogMelExtractor, StackedLogMelExtractor
from lithophone.backends.transformers_backend.loading import ready_to_infer
from lithophone.errors import ConfigurationError
from lithophone.granite.family import Architecture, ModelSpec

BLOCK = 1_048_583
"""Random numbers that are drawn; all weights are made of them. A prime, so that no two rows of a matrix are equal."""

WEIGHT_SCALE = 0.02
EMBEDDING_SCALE = 0.05

END, PAD, AUDIO = 0, 1, 2
ANY_WORD = "word"
CONTROL_TOKENS: dict[str, Any] = {
    "eos_token": "<|end_of_text|>",
    "pad_token": "<|pad|>",
    "extra_special_tokens": ["<|audio|>"],
}
SPECIAL_TOKENS = {"<|end_of_text|>": END, "<|pad|>": PAD, "<|audio|>": AUDIO}
TEMPLATE = "{% for m in messages %}{{ m['role'] }} {{ m['content'] }} {% endfor %}assistant :"


def family_config(spec: ModelSpec) -> PreTrainedConfig:
    """The published configuration of a family member, as far as it decides about speed.

    Raises:
        ConfigurationError: nothing is published for it.
    """
    if spec.architecture is Architecture.CTC:
        return GraniteSpeech5CTCConfig()
    text = _TEXT.get(spec.id)
    if text is None:
        raise ConfigurationError(f"the shape of {spec.id} is not known; name a folder with its config.json")
    plus = spec.architecture is Architecture.SPEECH_PLUS
    encoder: dict[str, Any] = {"num_layers": 16, "hidden_dim": 1024, "num_heads": 8, "dim_head": 128}
    encoder |= {"input_dim": 160, "output_dim": 256 if spec.lora else 348}
    config_class = GraniteSpeechPlusConfig if plus else GraniteSpeechConfig
    return config_class(
        text_config=text,
        encoder_config=encoder | ({"cat_hidden_layers": [3]} if plus else {}),
        projector_config=_PROJECTOR | {"encoder_hidden_size": 2048 if plus else 1024},
        audio_token_index=AUDIO,
        has_lora_adapter=False,  # merged into the weights, as the server has it
        tie_word_embeddings=bool(text["tie_word_embeddings"]),
    )


_PROJECTOR: dict[str, Any] = {
    "model_type": "blip_2_qformer",
    "num_hidden_layers": 2,
    "hidden_size": 1024,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "cross_attention_frequency": 1,
    "vocab_size": 1,
}


def _text(
    hidden: int, heads: int, key_heads: int, feedforward: int, vocabulary: int, *, tied: bool
) -> dict[str, Any]:
    return {
        "model_type": "granite",
        "num_hidden_layers": 40,
        "logits_scaling": 8.0,
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "num_key_value_heads": key_heads,
        "intermediate_size": feedforward,
        "vocab_size": vocabulary,
        "tie_word_embeddings": tied,
        "max_position_embeddings": 4096,
        "embedding_multiplier": 12.0,
        "attention_multiplier": heads / hidden,
        "residual_multiplier": 0.22,
    }


_TEXT = {
    "granite-speech-3.3-2b": _text(2048, 32, 8, 8192, 49_160, tied=True),
    "granite-speech-3.3-8b": _text(4096, 32, 8, 12_800, 49_160, tied=True),
    "granite-4.0-1b-speech": _text(2048, 16, 4, 4096, 100_353, tied=False),
    "granite-speech-4.1-2b": _text(2048, 16, 4, 4096, 100_353, tied=False),
    "granite-speech-4.1-2b-plus": _text(2048, 16, 4, 4096, 100_353, tied=True),
}


def random_model(spec: ModelSpec, config: Any, plan: DevicePlan) -> PreTrainedModel:
    """A model of this shape in the plan's dtype on its device, ready to infer."""
    built_class: Any = model_class(spec.architecture)
    speaks = hasattr(config, "text_config")
    if speaks:  # the few token ids of the tokenizer made here; the shape stays
        config.audio_token_index, config.has_lora_adapter = AUDIO, False
        text = config.text_config
        text.eos_token_id, text.bos_token_id, text.pad_token_id = END, END, PAD
    with no_init_weights(), torch.device(plan.torch_device):
        model = built_class._from_config(config, dtype=getattr(torch, plan.dtype))  # noqa: SLF001 - how transformers builds without files
    model.tie_weights()
    if speaks:
        model.generation_config.update(eos_token_id=END, bos_token_id=END, pad_token_id=PAD)
    filling = _Filling(model)
    if plan.quantization == "none":
        filling.fill(model)
    return ready_to_infer(model, plan, prepare=filling.fill)


class _Filling:
    """Numbers for the weights of a model, layer by layer: of one that is quantised, only one is there at a time."""

    def __init__(self, model: Any) -> None:
        self._block = torch.randn(BLOCK, generator=torch.Generator().manual_seed(0))
        self._head: Any = getattr(model, "lm_head", None)
        self._embeddings: Any = model.model.language_model.embed_tokens if self._head is not None else None

    @torch.no_grad()
    def fill(self, module: nn.Module) -> None:
        """All parameters below a module; an untied head comes with the embeddings."""
        if module is self._head:
            return
        for name, parameter in module.named_parameters():
            self._fill_one(name, parameter, is_embedding=module is self._embeddings or "embed_tokens" in name)
        if any(child is self._embeddings for child in module.modules()):
            self._fill_head()

    def _fill_one(self, name: str, parameter: Tensor, *, is_embedding: bool) -> None:
        if parameter.ndim > 1:
            scale = EMBEDDING_SCALE if is_embedding else WEIGHT_SCALE
            _tile(parameter.data.view(-1), (self._block * scale).to(parameter.device, parameter.dtype))
        else:
            parameter.data.fill_(0.0 if name.endswith("bias") else 1.0)

    def _fill_head(self) -> None:
        head, embeddings = self._head.weight, self._embeddings.weight
        if head.data_ptr() != embeddings.data_ptr():
            head.data[1:] = embeddings.data[:-1]
            head.data[:1] = embeddings.data[-1:]


def _tile(flat: Tensor, block: Tensor) -> None:
    for start in range(0, len(flat), len(block)):
        part = flat[start : start + len(block)]
        part.copy_(block[: len(part)])


def random_processor(spec: ModelSpec, config: Any) -> Any:
    """A processor whose tokenizer knows the control tokens and takes any word for the same one."""
    if spec.architecture is Architecture.CTC:
        blank = {"pad_token": "<pad>"}
        tokenizer = ParakeetTokenizer(tokenizer_object=_word_tokenizer({"<pad>": 0}), **blank)
        return GraniteSpeech5Processor(DeltaLogMelExtractor(), tokenizer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=_word_tokenizer(SPECIAL_TOKENS),
        chat_template=TEMPLATE,
        **CONTROL_TOKENS,
    )
    extractor = StackedLogMelExtractor(config.window_size, config.downsample_rate)
    return GraniteSpeechProcessor(extractor, tokenizer, chat_template=TEMPLATE)


def _word_tokenizer(special: dict[str, int]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel({**special, ANY_WORD: len(special)}, unk_token=ANY_WORD))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(list(special))
    return tokenizer
