"""The LoRA of the 3.3 models: read, judged, and folded into the weights.

A server always has audio, so the adapter would never be off, and transformers' `generate` toggles it on the shared model
otherwise.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from transformers import PreTrainedModel

from lithophone.backends.transformers_backend.configuration import AdapterConfig, SpeechConfig
from lithophone.backends.transformers_backend.finite import require_finite
from lithophone.backends.transformers_backend.folder import is_there
from lithophone.backends.transformers_backend.refusals import refuse_unusable
from lithophone.backends.transformers_backend.weights import LoadReport, open_weights, require_whole
from lithophone.errors import CheckpointError
from lithophone.granite.family import ModelSpec
from lithophone.hub.layout import ADAPTER, ADAPTER_CONFIG


def require_adapter(
    folder: Path, spec: ModelSpec, config: SpeechConfig, adapter: AdapterConfig | None
) -> None:
    """Refuse a folder that lacks the adapter its configuration or its model speaks of, or half of one.

    A configuration that says `has_lora_adapter: false` is taken at its word: somebody has folded the adapter in.

    Raises:
        CheckpointError: says which files to download.
    """
    needed = spec.lora if config.has_lora_adapter is None else config.has_lora_adapter
    if adapter is None and needed:
        raise CheckpointError(
            f"{folder} is a {spec.id} and holds no adapter: without it the model transcribes wrongly. "
            f"Download {ADAPTER_CONFIG} and {ADAPTER} into it, from {spec.hub_id or 'where it is from'}"
        )
    if adapter is not None:
        if not is_there(folder / ADAPTER):
            raise CheckpointError(f"{folder} has an {ADAPTER_CONFIG} but no {ADAPTER}")
        with open_weights(folder / ADAPTER):
            pass


def load_adapter(model: PreTrainedModel, folder: Path, adapter: AdapterConfig, dtype: str) -> None:
    """Load the LoRA and fold it into the weights.

    Raises:
        CheckpointError: it does not fit the model, or its numbers are none.
    """
    from peft import LoraConfig  # noqa: PLC0415 - a second of import, for the 3.3 models alone

    file = folder / ADAPTER
    peft_config: Any = LoraConfig(
        r=adapter.r,
        lora_alpha=adapter.lora_alpha,  # pyright: ignore[reportArgumentType] - a quotient with r, fractions do
        target_modules=adapter.target_modules,
        use_rslora=adapter.use_rslora,
    )
    with refuse_unusable(str(file)):
        tensors = load_file(file)
        require_finite(tensors.items(), file, "float32")
        report = model.load_adapter(
            peft_config=peft_config, adapter_state_dict=tensors, ignore_mismatched_sizes=True
        )
        require_whole(file, LoadReport.of(report.to_dict()))
    merged = merge_adapter(model)
    require_finite(((f"{name}.weight", layer.weight) for name, layer in merged), folder, dtype, computed=True)


def merge_adapter(model: PreTrainedModel) -> list[tuple[str, Any]]:
    """Fold LoRA weights into the layers they adapt and take the adapter out; returns these layers with their names."""
    from peft.tuners.lora import LoraLayer  # noqa: PLC0415 - see above

    adapted = [(name, module) for name, module in model.named_modules() if isinstance(module, LoraLayer)]
    merged: list[tuple[str, Any]] = []
    for name, module in adapted:
        module.merge()  # pyright: ignore[reportCallIssue] - every LoraLayer of peft has it
        parent = model.get_submodule(name.rpartition(".")[0])
        setattr(parent, name.rpartition(".")[2], module.get_base_layer())
        merged.append((name, module.get_base_layer()))
    if adapted:
        model._hf_peft_config_loaded = False  # noqa: SLF001 - else `generate` looks for the adapter
        del model.peft_config
    return merged
