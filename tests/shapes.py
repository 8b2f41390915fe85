"""Small random-weight checkpoints in the shapes of the family, for tests of loading, prompts and decoding.

`python tests/shapes.py FOLDER` writes all of them. Random weights transcribe nothing: they are never served.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import torch
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from tokenizers.decoders import ByteLevel
from transformers import (
    GraniteSpeech5CTCConfig,
    GraniteSpeech5ForCTC,
    GraniteSpeechConfig,
    GraniteSpeechForConditionalGeneration,
    GraniteSpeechPlusConfig,
    GraniteSpeechPlusForConditionalGeneration,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.models.parakeet.tokenization_parakeet import ParakeetTokenizer

CONTROL_TEMPLATE = (
    "{% for m in messages %}<|start_of_role|>{{ m['role'] }}<|end_of_role|>{{ m['content'] }}<|end_of_text|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|start_of_role|>assistant<|end_of_role|>{% endif %}"
)
USER_TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ 'USER: ' + m['content'] + '\n ' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
CORPUS = [
    "the quick brown fox jumps over the lazy dog",
    "five hundred and twenty two pounds",
    "USER: ASSISTANT:",
]
SPECIAL = ["<|end_of_text|>", "<|pad|>", "<|audio|>", "<|start_of_role|>", "<|end_of_role|>"]
LAYERS = 2
HIDDEN = 64


def byte_level(specials: list[str]) -> Tokenizer:
    """A small byte-level BPE tokenizer; the special tokens come first."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def _write_tokenizer(folder: Path, template: str) -> PreTrainedTokenizerFast:
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=byte_level(SPECIAL),
        eos_token="<|end_of_text|>",
        bos_token="<|end_of_text|>",
        pad_token="<|pad|>",
        extra_special_tokens=["<|audio|>", "<|start_of_role|>", "<|end_of_role|>"],
        chat_template=template,
    )
    tokenizer.save_pretrained(folder)
    return tokenizer


def _audio_token(tokenizer: PreTrainedTokenizerFast) -> int:
    return tokenizer.get_vocab()["<|audio|>"]


def _encoder(**more: object) -> dict[str, object]:
    return {
        "input_dim": 160,
        "num_layers": 4,
        "hidden_dim": HIDDEN,
        "num_heads": 4,
        "dim_head": 16,
        "output_dim": 256,
        "context_size": 200,
        "max_pos_emb": 512,
        "dropout": 0.0,
        **more,
    }


def _projector(encoder_hidden_size: int = HIDDEN) -> dict[str, object]:
    return {
        "model_type": "blip_2_qformer",
        "hidden_size": HIDDEN,
        "encoder_hidden_size": encoder_hidden_size,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 4,
        "intermediate_size": 128,
        "cross_attention_frequency": 1,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "vocab_size": 1,
    }


def _text(tokenizer: PreTrainedTokenizerFast, *, tied: bool, hidden: int = HIDDEN) -> dict[str, object]:
    return {
        "model_type": "granite",
        "vocab_size": len(tokenizer),
        "hidden_size": hidden,
        "intermediate_size": 4 * hidden,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "embedding_multiplier": 12.0,
        "attention_multiplier": 1 / 16,
        "residual_multiplier": 0.22,
        "logits_scaling": 8.0,
        "tie_word_embeddings": tied,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _spread(model: torch.nn.Module) -> None:
    """Wider weights than transformers' own start.

    Near-equal logits would make every test a coin toss, and a tied head would repeat its input for ever: the layers have
    to outweigh the embedding they add to.
    """
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim >= 2 and "embed_tokens" not in name:
                parameter.mul_(80.0 if name.endswith(("o_proj.weight", "down_proj.weight")) else 8.0)


def write_speech_3_3(folder: Path) -> Path:
    """3.3: tied head, control-token template, LoRA of rank 8 on q_proj and v_proj with real weights in it."""
    torch.manual_seed(33)
    tokenizer = _write_tokenizer(folder, CONTROL_TEMPLATE)
    config = GraniteSpeechConfig(
        text_config=_text(tokenizer, tied=True),
        encoder_config=_encoder(),
        projector_config=_projector(),
        audio_token_index=_audio_token(tokenizer),
        has_lora_adapter=True,
        tie_word_embeddings=True,
    )
    model = GraniteSpeechForConditionalGeneration(config)
    _spread(model)
    model.save_pretrained(str(folder))
    model.add_adapter(
        LoraConfig(r=8, lora_alpha=32, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    )
    PreTrainedModel.save_pretrained(model, str(folder))  # with an adapter in place: the adapter alone
    _name_adapter_weights_as_published(folder / "adapter_model.safetensors")
    return folder


def _name_adapter_weights_as_published(file: Path) -> None:
    """The 3.3 adapters were saved when the language model still was a causal model inside: one `model` more."""
    weights = load_file(file)
    old, new = "base_model.model.model.language_model.", "base_model.model.language_model.model."
    save_file({name.replace(old, new): tensor for name, tensor in weights.items()}, file, {"format": "pt"})


def write_speech_4(folder: Path, *, text_hidden: int = HIDDEN) -> Path:
    """4.0 and 4.1: untied head, USER/ASSISTANT template, a CTC head with katakana, no adapter."""
    torch.manual_seed(41)
    tokenizer = _write_tokenizer(folder, USER_TEMPLATE)
    config = GraniteSpeechConfig(
        text_config=_text(tokenizer, tied=False, hidden=text_hidden),
        encoder_config=_encoder(output_dim=348),
        projector_config=_projector(),
        audio_token_index=_audio_token(tokenizer),
        has_lora_adapter=False,
        tie_word_embeddings=False,
    )
    model = GraniteSpeechForConditionalGeneration(config)
    _spread(model)
    model.save_pretrained(str(folder))
    return folder


def write_plus(folder: Path) -> Path:
    """4.1 plus: the projector sees layer 3 beside the last one."""
    torch.manual_seed(42)
    tokenizer = _write_tokenizer(folder, CONTROL_TEMPLATE)
    config = GraniteSpeechPlusConfig(
        text_config=_text(tokenizer, tied=True),
        encoder_config=_encoder(output_dim=348, cat_hidden_layers=[3]),
        projector_config=_projector(2 * HIDDEN),
        audio_token_index=_audio_token(tokenizer),
        has_lora_adapter=False,
        tie_word_embeddings=True,
    )
    model = GraniteSpeechPlusForConditionalGeneration(config)
    _spread(model)
    model.save_pretrained(str(folder))
    return folder


def write_ctc(folder: Path) -> Path:
    """5.0: a BPE CTC head on a subsampling encoder, blank = pad = 0."""
    torch.manual_seed(50)
    tokenizer = ParakeetTokenizer(tokenizer_object=byte_level(["<pad>"]), pad_token="<pad>")
    tokenizer.save_pretrained(folder)
    config = GraniteSpeech5CTCConfig(
        vocab_size=len(tokenizer),
        pad_token_id=0,
        encoder_config={
            "vocab_size": len(tokenizer),
            "hidden_size": HIDDEN,
            "intermediate_size": 128,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_mel_bins": 80,
            "context_size": 128,
        },
    )
    model = GraniteSpeech5ForCTC(config)
    _spread(model)
    model.save_pretrained(str(folder))
    return folder


SHAPES: dict[str, Callable[[Path], Path]] = {
    "granite-speech-3.3-2b": write_speech_3_3,
    "granite-speech-3.3-8b": write_speech_3_3,
    "granite-4.0-1b-speech": write_speech_4,
    "granite-speech-4.1-2b": write_speech_4,
    "granite-speech-4.1-2b-plus": write_plus,
    "granite-speech-5.0-470m-turboctc": write_ctc,
}


def write_all(folder: Path) -> dict[str, Path]:
    """Every shape in a folder named like the real model."""
    return {name: write(folder / name) for name, write in SHAPES.items()}


if __name__ == "__main__":
    for name, path in write_all(Path(sys.argv[1])).items():
        print(f"{name}: {path}")  # noqa: T201 - a script
