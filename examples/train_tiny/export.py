"""Writes a trained state as an ordinary Hugging Face folder with fp16 weights, for either model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig

from .average import final_weights
from .ctc_model import ctc_config, new_ctc_model
from .ctc_vocabulary import load_or_train_pieces
from .model import new_model, tiny_config
from .vocabulary import AUDIO, CHAT_TEMPLATE, END_ID, PAD_ID, load_or_train

EXTRACTOR = {
    "feature_extractor_type": "GraniteSpeechFeatureExtractor",
    "melspec_kwargs": {
        "sample_rate": 16000,
        "n_fft": 512,
        "win_length": 400,
        "hop_length": 160,
        "n_mels": 80,
    },
    "processor_class": "GraniteSpeechProcessor",
    "projector_downsample_rate": 5,
    "projector_window_size": 15,
    "sampling_rate": 16000,
}
PROCESSOR = {"audio_token": AUDIO, "processor_class": "GraniteSpeechProcessor"}
CTC_EXTRACTOR = {
    "delta_win_length": 3,
    "feature_extractor_type": "GraniteSpeech5FeatureExtractor",
    "feature_size": 320,
    "hop_length": 160,
    "logmel_floor_db": 8.0,
    "n_fft": 512,
    "num_mel_bins": 80,
    "padding_side": "right",
    "padding_value": 0.0,
    "processor_class": "GraniteSpeech5Processor",
    "return_attention_mask": True,
    "sampling_rate": 16000,
    "win_length": 400,
}
CTC_PROCESSOR = {"processor_class": "GraniteSpeech5Processor"}


def export(run: Path, target: Path, seed: int) -> None:
    """The state of `run` as a checkpoint in `target`."""
    tokenizer = load_or_train(run / "tokenizer", seed)
    weights, step = final_weights(run)
    model = new_model(tiny_config(len(tokenizer)))
    model.load_state_dict(weights)
    model.generation_config = GenerationConfig(
        bos_token_id=END_ID, eos_token_id=END_ID, pad_token_id=PAD_ID, do_sample=False, num_beams=1
    )
    target.mkdir(parents=True, exist_ok=True)
    model.to(torch.float16).save_pretrained(target)
    tokenizer.save_pretrained(target)
    _tidy_tokenizer(target, chat_template=CHAT_TEMPLATE)
    _write_processor(target, EXTRACTOR, PROCESSOR)
    _say_size(target, step)


def export_ctc(run: Path, target: Path, seed: int) -> None:
    """The CTC sibling's state of `run` as a checkpoint in `target`."""
    tokenizer = load_or_train_pieces(run / "tokenizer", seed)
    state = torch.load(run / "state.pt", weights_only=True)
    model = new_ctc_model(ctc_config(len(tokenizer)))
    model.load_state_dict(state["model"])
    target.mkdir(parents=True, exist_ok=True)
    model.to(torch.float16).save_pretrained(target)
    tokenizer.save_pretrained(target)
    _tidy_tokenizer(target)
    _write_processor(target, CTC_EXTRACTOR, CTC_PROCESSOR)
    _say_size(target, state["step"])


def _write_processor(target: Path, extractor: dict[str, Any], processor: dict[str, Any]) -> None:
    (target / "preprocessor_config.json").write_text(json.dumps(extractor, indent=2) + "\n")
    (target / "processor_config.json").write_text(json.dumps(processor, indent=2) + "\n")


def _say_size(target: Path, step: int) -> None:
    (target / "model.safetensors").chmod(0o644)
    size = sum(path.stat().st_size for path in target.iterdir() if path.is_file())
    print(f"exported step {step} to {target}: {size / 1e6:.1f} MB", flush=True)


def _tidy_tokenizer(target: Path, chat_template: str | None = None) -> None:
    """Leave out of the configuration how the tokenizer was loaded here.

    A chat template stands both in its own file and in the configuration, where older readers look.
    """
    path = target / "tokenizer_config.json"
    config = json.loads(path.read_text())
    for name in ("is_local", "local_files_only"):
        config.pop(name, None)
    if chat_template is not None:
        (target / "chat_template.jinja").write_text(chat_template)
        config["chat_template"] = chat_template
    path.write_text(json.dumps(config, indent=2) + "\n")
