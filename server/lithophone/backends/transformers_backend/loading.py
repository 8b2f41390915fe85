"""Weights and processors into memory, ready to infer.

Owns the order in which a checkpoint is read: what is small first, then names and shapes, then the weights themselves.
Safetensors only, no remote code, weights placed as they are read. transformers gets the values that `folder` has read, not
the files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import torch
from torch import Tensor, nn
from transformers import GenerationConfig, PreTrainedConfig
from transformers.initialization import no_init_weights
from transformers.utils.logging import disable_progress_bar, set_verbosity_error

from lithophone.backends.device.facts import TorchFacts
from lithophone.backends.device.plan import DevicePlan, device_map_memory
from lithophone.backends.heap import release_file_pages
from lithophone.backends.quantization.eight import Int8Linear
from lithophone.backends.quantization.layers import quantize
from lithophone.backends.quantization.manifest import Manifest, read_manifest
from lithophone.backends.quantization.stored import restore
from lithophone.backends.transformers_backend.adapter import load_adapter, require_adapter
from lithophone.backends.transformers_backend.architectures import model_class, transformers_config
from lithophone.backends.transformers_backend.checkpoint import Checkpoint
from lithophone.backends.transformers_backend.configuration import (
    AdapterConfig,
    CtcConfig,
    ModelConfig,
    SpeechConfig,
)
from lithophone.backends.transformers_backend.finite import require_finite, tensors_of
from lithophone.backends.transformers_backend.folder import read_adapter_config, read_config, read_end_tokens
from lithophone.backends.transformers_backend.processors import ctc_processor, speech_processor
from lithophone.backends.transformers_backend.refusals import refuse_unusable
from lithophone.backends.transformers_backend.weights import (
    LoadReport,
    read_dtype,
    read_shapes,
    require_whole,
)
from lithophone.errors import CheckpointError, ConfigurationError
from lithophone.granite.family import Architecture


class LoadedCheckpoint(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """A transformers model, ready to infer, and its processor."""

    model: Any
    processor: Any


def load_checkpoint(checkpoint: Checkpoint, plan: DevicePlan, facts: TorchFacts) -> LoadedCheckpoint:
    """The model on its device in its dtype, in eval mode, without gradients, adapter merged, and its processor.

    Quantised if the plan says so. What is small is read first.

    Raises:
        CheckpointError: something in the folder is missing, damaged or of another model.
        ConfigurationError: the plan asks for what this model or this installation cannot do.
        DoesNotFitError: memory ran out.
    """
    _refuse_without_language_model(checkpoint.spec.architecture, plan)
    disable_progress_bar()  # a server's log is no terminal
    set_verbosity_error()  # what it would warn of is judged here
    folder = checkpoint.path
    with refuse_unusable(str(folder)):
        config = read_config(folder)
        if config.model_type != checkpoint.spec.architecture.value:
            raise CheckpointError(f"{folder} holds a {config.model_type}, which {checkpoint.spec.id} is not")
        if isinstance(config, CtcConfig):
            processor = ctc_processor(folder, config)
            return LoadedCheckpoint(model=_load_model(folder, config, None, plan, facts), processor=processor)
        manifest = read_manifest(folder)
        adapter = read_adapter_config(folder)
        if manifest is None:
            require_adapter(folder, checkpoint.spec, config, adapter)
        end_tokens = read_end_tokens(folder, config)
        processor = speech_processor(folder, checkpoint.spec, config, end_tokens)
        if manifest is None:
            model = _load_model(folder, config, adapter, plan, facts)
        else:
            model = _restored(folder, config, manifest, plan)
        model.generation_config.eos_token_id = list(end_tokens)
        return LoadedCheckpoint(model=model, processor=processor)


def _restored(folder: Path, config: SpeechConfig, manifest: Manifest, plan: DevicePlan) -> Any:
    """A model from a folder of quantised weights; an adapter is folded in already."""
    resolved = transformers_config(config)
    built_class: Any = model_class(Architecture(config.model_type))
    with no_init_weights():  # pages that nobody writes take no memory
        model = built_class._from_config(resolved, dtype=getattr(torch, plan.dtype))  # noqa: SLF001 - how transformers builds without files
    model.eval().requires_grad_(requires_grad=False)
    restore(model, folder, manifest, getattr(torch, plan.dtype))
    return model


def _load_model(
    folder: Path, config: ModelConfig, adapter: AdapterConfig | None, plan: DevicePlan, facts: TorchFacts
) -> Any:
    resolved = transformers_config(config)
    loaded_class: Any = model_class(Architecture(config.model_type))  # typed without half of its arguments
    _require_fitting(folder, loaded_class, resolved)
    with _without_adapter(folder, adapter) as base_folder:
        model = loaded_class.from_pretrained(
            base_folder,
            config=resolved,
            generation_config=_generation_config(resolved),
            dtype=getattr(torch, plan.dtype) if plan.quantization == "none" else read_dtype(folder),
            **_placement(plan, facts),
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
        )
    require_finite(_read_once(model), folder, plan.dtype)
    if adapter is not None:
        load_adapter(model, folder, adapter, plan.dtype)
    return ready_to_infer(model, plan)


def _require_fitting(folder: Path, loaded_class: Any, config: PreTrainedConfig) -> None:
    """Load the names and shapes of the weights alone, and see whether they are those of the model.

    Takes half a second for the largest member, no memory, and nothing from the disk but the files' headers.
    """
    with torch.inference_mode(mode=False):  # in it, 5.0's float32 norms cannot be put on the meta device
        _, report = loaded_class.from_pretrained(
            None,
            config=config,
            state_dict=read_shapes(folder),
            device_map={"": "meta"},
            ignore_mismatched_sizes=True,  # reported instead, with names
            output_loading_info=True,
        )
    require_whole(folder, LoadReport.of(report))


def _generation_config(config: PreTrainedConfig) -> GenerationConfig:
    """As if the folder had none: nothing in it but the end tokens counts, and those are read before."""
    return GenerationConfig.from_model_config(config)


def ready_to_infer(model: Any, plan: DevicePlan, prepare: Callable[[nn.Module], None] | None = None) -> Any:
    """The model in eval mode, in place; quantised if the plan says so, `prepare` as for `quantize`."""
    model.eval().requires_grad_(requires_grad=False)
    if plan.quantization != "none":
        quantize(model, plan.quantization, getattr(torch, plan.dtype), prepare=prepare)
    return model


def _read_once(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """All tensors with their names; what is mapped from files leaves memory when the next one's turn comes."""
    for name, tensor in tensors_of(model):
        yield name, tensor
        release_file_pages(tensor)


def _refuse_without_language_model(architecture: Architecture, plan: DevicePlan) -> None:
    if architecture is Architecture.CTC and plan.quantization != "none":
        raise ConfigurationError("--quantization serves models with a language model only")


def _placement(plan: DevicePlan, facts: TorchFacts) -> dict[str, Any]:
    """Where `from_pretrained` puts the weights as it reads them."""
    if plan.device_map is None:
        return {"device_map": {"": plan.torch_device}}
    return {"device_map": plan.device_map, "max_memory": device_map_memory(facts, plan)}


@contextmanager
def _without_adapter(folder: Path, adapter: AdapterConfig | None) -> Iterator[Path]:
    """The folder as transformers shall see it for the base weights.

    `from_pretrained` would read an adapter by itself and hand on whatever its configuration says.
    """
    if adapter is None:
        yield folder
        return
    with TemporaryDirectory(prefix="lithophone-") as view:
        for file in folder.iterdir():
            if not file.name.startswith("adapter_"):
                (Path(view) / file.name).symlink_to(file.absolute())
        yield Path(view)


def weight_bytes(model: nn.Module) -> int:
    """Memory of the parameters and buffers, shared ones once."""
    tensors = {t.data_ptr(): t for t in [*model.parameters(), *model.buffers()]}
    packed = sum(layer.packed_bytes for layer in model.modules() if isinstance(layer, Int8Linear))
    return packed + sum(tensor.nbytes for tensor in tensors.values())
