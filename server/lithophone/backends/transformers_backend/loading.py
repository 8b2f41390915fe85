"""Weights and processors into memory, ready to infer.

Owns every `from_pretrained` call. Safetensors only, no remote code, weights placed as they are read. The LoRA of the
3.3 models is merged into the weights: a server always has audio, so the adapter would never be off, and transformers'
`generate` toggles it on the shared model otherwise.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AutoTokenizer,
    GraniteSpeech5Processor,
    GraniteSpeechProcessor,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils.logging import disable_progress_bar

from lithophone.backends.cpu.int8 import quantize_language_model
from lithophone.backends.device.facts import TorchFacts
from lithophone.backends.device.plan import DevicePlan, device_map_memory
from lithophone.backends.transformers_backend.architectures import model_class
from lithophone.backends.transformers_backend.checkpoint import Checkpoint
from lithophone.backends.transformers_backend.extractors import DeltaLogMelExtractor, StackedLogMelExtractor
from lithophone.errors import CheckpointError, ConfigurationError
from lithophone.granite.family import Architecture

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"


def load_model(checkpoint: Checkpoint, plan: DevicePlan, facts: TorchFacts) -> PreTrainedModel:
    """The model on its device in its dtype, in eval mode, without gradients, adapter merged.

    Quantised if the plan says so.

    Raises:
        CheckpointError: the folder's weights are missing, damaged or of another shape.
        ConfigurationError: the plan asks for what this model or this installation cannot do.
    """
    _refuse_without_language_model(checkpoint.spec.architecture, plan)
    disable_progress_bar()  # a server's log is no terminal
    try:
        with _without_adapter(checkpoint.path) as base_folder:
            loaded_class: Any = model_class(
                checkpoint.spec.architecture
            )  # its typing forgets `output_loading_info`
            model, report = loaded_class.from_pretrained(
                base_folder,
                dtype=getattr(torch, plan.dtype),
                **_placement(plan, facts),
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
            )
        _check_whole(checkpoint.path, report["missing_keys"])
        if (checkpoint.path / ADAPTER_CONFIG).exists():
            _load_adapter(model, checkpoint.path)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{checkpoint.path} cannot be loaded: {reason}") from error
    return ready_to_infer(model, plan)


def ready_to_infer(model: Any, plan: DevicePlan) -> Any:
    """The model in eval mode, in place; quantised if the plan says so.

    Raises:
        ConfigurationError: the installation lacks what that takes.
    """
    model.eval().requires_grad_(requires_grad=False)
    if plan.quantization == "int8":
        quantize_language_model(model)
    return model


def _refuse_without_language_model(architecture: Architecture, plan: DevicePlan) -> None:
    if architecture is Architecture.CTC and plan.quantization != "none":
        raise ConfigurationError("--quantization serves models with a language model only")


def _placement(plan: DevicePlan, facts: TorchFacts) -> dict[str, Any]:
    """Where `from_pretrained` puts the weights as it reads them."""
    if plan.device_map is None:
        return {"device_map": {"": plan.torch_device}}
    return {"device_map": plan.device_map, "max_memory": device_map_memory(facts, plan)}


@contextmanager
def _without_adapter(folder: Path) -> Iterator[Path]:
    """The folder as transformers shall see it for the base weights.

    With an adapter in it, `from_pretrained` reports on the adapter alone, and weights the base model lacks would be
    made up at random without a word that can be caught.
    """
    if not (folder / ADAPTER_CONFIG).exists():
        yield folder
        return
    with TemporaryDirectory(prefix="lithophone-") as view:
        for file in folder.iterdir():
            if not file.name.startswith("adapter_"):
                (Path(view) / file.name).symlink_to(file.resolve())
        yield Path(view)


def _load_adapter(model: PreTrainedModel, folder: Path) -> None:
    """Load the LoRA and fold it into the weights.

    Raises:
        CheckpointError: it is not in safetensors (transformers would fall back to a pickle), or incomplete.
    """
    if not (folder / ADAPTER_WEIGHTS).exists():
        raise CheckpointError(f"{folder} has an {ADAPTER_CONFIG} but no {ADAPTER_WEIGHTS}")
    report = model.load_adapter(str(folder))
    _check_whole(folder, report.missing_keys)
    merge_adapter(model)


def _check_whole(folder: Path, missing_keys: Collection[str]) -> None:
    if missing_keys:
        some = min(missing_keys)
        raise CheckpointError(f"{folder} lacks {len(missing_keys)} of the model's weights, such as {some}")


def merge_adapter(model: PreTrainedModel) -> int:
    """Fold LoRA weights into the layers they adapt and take the adapter out; returns how many layers had one."""
    from peft.tuners.lora import LoraLayer  # noqa: PLC0415 - a second of import, for the 3.3 models alone

    adapted = [(name, module) for name, module in model.named_modules() if isinstance(module, LoraLayer)]
    for name, module in adapted:
        module.merge(safe_merge=True)  # pyright: ignore[reportCallIssue] - every LoraLayer of peft has it
        parent = model.get_submodule(name.rpartition(".")[0])
        setattr(parent, name.rpartition(".")[2], module.get_base_layer())
    if adapted:
        model._hf_peft_config_loaded = False  # noqa: SLF001 - else `generate` looks for the adapter
        del model.peft_config
    return len(adapted)


def load_tokenizer(path: Path) -> PreTrainedTokenizerBase:
    """The checkpoint's tokenizer.

    Raises:
        CheckpointError: there is none.
    """
    try:
        return AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{path} has no usable tokenizer: {reason}") from error


def speech_processor(path: Path, config: Any) -> Any:
    """The processor of a 3.x or 4.x checkpoint, around the torch-only extractor.

    Raises:
        CheckpointError: no tokenizer, or one without a chat template.
    """
    tokenizer = load_tokenizer(path)
    if tokenizer.chat_template is None:
        raise CheckpointError(f"{path} has no chat template")
    extractor = StackedLogMelExtractor(config.window_size, config.downsample_rate)
    return GraniteSpeechProcessor(extractor, tokenizer, chat_template=tokenizer.chat_template)


def ctc_processor(path: Path) -> Any:
    """The processor of a 5.0 checkpoint, around the torch-only extractor.

    Raises:
        CheckpointError: no tokenizer.
    """
    return GraniteSpeech5Processor(DeltaLogMelExtractor(), load_tokenizer(path))


def concurrent_decoder(tokenizer: Any) -> Callable[[Sequence[int]], str]:
    """Tokens to text, control tokens left out, from any thread while another uses `tokenizer`.

    The tokenizers library forbids to read a tokenizer while it is being set up anew, which transformers does whenever
    truncation or padding change; hence a copy that nobody sets up.
    """
    own = copy.deepcopy(tokenizer)

    def decode(tokens: Sequence[int]) -> str:
        return str(own.decode(list(tokens), skip_special_tokens=True))

    return decode


def weight_bytes(model: nn.Module) -> int:
    """Memory of the parameters and buffers, shared ones once."""
    tensors = {t.data_ptr(): t for t in [*model.parameters(), *model.buffers()]}
    return sum(tensor.nbytes for tensor in tensors.values())
