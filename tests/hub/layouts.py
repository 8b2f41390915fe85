"""Small checkpoints laid out as IBM's repositories are, by what public sources say of them.

Shards with an index, and for 3.3 a second set of them that the index does not name; an adapter whose names carry no prefix;
no `generation_config.json` for 4.x but one for plus; a chat template as a file or inside the tokenizer's; recordings,
signatures and code that nobody needs.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save

SAMPLE = Path(__file__).parents[2] / "server" / "lithophone" / "backends" / "speech.wav"
SAMPLES = {"3.3": "10226_10111_000000.wav", "4.": "multilingual_sample.wav"}
PREFIX = "base_model.model."

Weights = dict[str, torch.Tensor]
Files = dict[str, bytes]


def as_published(folder: Path) -> Files:
    """The files of a checkpoint of a test as its repository on the hub has them; `folder` is named like the model."""
    name = folder.name
    files = {file.name: file.read_bytes() for file in folder.iterdir() if file.suffix != ".safetensors"}
    weights = _half(load_file(folder / "model.safetensors"))
    if name.startswith("granite-speech-5.0"):
        files["model.safetensors"] = save(weights, {"format": "pt"})
        return files | {"granite_encoder.py": b"raise SystemExit"}
    files |= _shards(weights, 3)
    files |= {file: SAMPLE.read_bytes() for key, file in SAMPLES.items() if key in name}
    if "3.3" in name:
        files |= {file: content for file, content in _shards(weights, 4).items() if "index" not in file}
        adapter = load_file(folder / "adapter_model.safetensors")
        bare = {tensor.removeprefix(PREFIX): values for tensor, values in adapter.items()}
        files |= {
            "adapter_model.safetensors": save(bare, {"format": "pt"}),
            "preprocessor_config.json": b"{}",
        }
        return _template_inside(files)
    if not name.endswith("plus"):
        del files["generation_config.json"]
    if name.endswith("4.1-2b"):
        files |= {"out_llm.safetensors": save({"weight": torch.zeros(10, 64)}), "model.sig": b"signed"}
    return files


def _half(weights: Weights) -> Weights:
    return {
        name: values.bfloat16() if values.is_floating_point() else values for name, values in weights.items()
    }


def _shards(weights: Weights, count: int) -> Files:
    names = list(weights)
    files: Files = {}
    weight_map: dict[str, str] = {}
    for number in range(count):
        file = f"model-{number + 1:05d}-of-{count:05d}.safetensors"
        held = {name: weights[name] for name in names[number::count]}
        files[file] = save(held, {"format": "pt"})
        weight_map |= dict.fromkeys(held, file)
    files["model.safetensors.index.json"] = json.dumps({"metadata": {}, "weight_map": weight_map}).encode()
    return files


def _template_inside(files: Files) -> Files:
    """As in the older repositories: a field of the tokenizer's configuration."""
    template = files.pop("chat_template.jinja").decode()
    config = json.loads(files["tokenizer_config.json"]) | {"chat_template": template}
    return files | {"tokenizer_config.json": json.dumps(config).encode()}
