"""Writes a trained state as an ordinary Hugging Face folder with fp16 weights."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import GenerationConfig

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


def export(run: Path, target: Path, seed: int) -> None:
    """The state of `run` as a checkpoint in `target`."""
    tokenizer = load_or_train(run / "tokenizer", seed)
    state = torch.load(run / "state.pt", weights_only=True)
    model = new_model(tiny_config(len(tokenizer)))
    model.load_state_dict(state["model"])
    model.generation_config = GenerationConfig(
        bos_token_id=END_ID, eos_token_id=END_ID, pad_token_id=PAD_ID, do_sample=False, num_beams=1
    )
    target.mkdir(parents=True, exist_ok=True)
    model.to(torch.float16).save_pretrained(target)
    tokenizer.save_pretrained(target)
    _state_chat_template(target)
    (target / "preprocessor_config.json").write_text(json.dumps(EXTRACTOR, indent=2) + "\n")
    (target / "processor_config.json").write_text(json.dumps(PROCESSOR, indent=2) + "\n")
    (target / "model.safetensors").chmod(0o644)
    size = sum(path.stat().st_size for path in target.iterdir() if path.is_file())
    print(f"exported step {state['step']} to {target}: {size / 1e6:.1f} MB", flush=True)


def _state_chat_template(target: Path) -> None:
    """The template stands both in its own file and in the tokenizer's configuration, where older readers look."""
    (target / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    path = target / "tokenizer_config.json"
    config = json.loads(path.read_text())
    config["chat_template"] = CHAT_TEMPLATE
    path.write_text(json.dumps(config, indent=2) + "\n")
