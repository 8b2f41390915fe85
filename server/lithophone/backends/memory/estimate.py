"""What a checkpoint needs in each dtype, from its `config.json`.

The model is built on torch's meta device, which allocates nothing. required = max(loading, serving):

- serving = weights + activations + key-value cache + what is kept of live windows + allowance for kernels' workspaces.
- loading = weights + LoRA adapter + the largest matrix once more (a tensor being converted, or a merge in progress).

transformers creates the model on the meta device and fills it tensor by tensor from memory-mapped safetensors, so
loading holds no second copy. Measured with a 473 M model on a CPU: in the checkpoint's own dtype the weights stay
file mappings (7 MB of anonymous memory); converted to float32 they are 1.8 GB anonymous beside 0.9 GB of mapped file,
which the kernel drops when it needs the room.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from lithophone.backends.device.facts import DTYPE_BYTES, DtypeName
from lithophone.backends.device.plan import ModelSize, Quantization
from lithophone.backends.memory.needs import (
    NEW_TOKENS,
    activation_bytes,
    adapter_parameters,
    has_adapter,
    kept_bytes,
    kv_cache_bytes,
    weight_bytes,
)
from lithophone.backends.transformers_backend.architectures import model_class, transformers_config
from lithophone.backends.transformers_backend.configuration import AdapterConfig
from lithophone.backends.transformers_backend.folder import read_adapter_config, read_config
from lithophone.backends.transformers_backend.refusals import refuse_unusable
from lithophone.errors import CheckpointError
from lithophone.granite.family import Architecture

if TYPE_CHECKING:  # they take seconds to import, and a model that is too large is refused without them
    from transformers import PreTrainedConfig, PreTrainedModel

WORKSPACE_BYTES: Final = 256 << 20
"""For the workspaces of matrix libraries, the allocator's slack, and the encoder layer that is held in float32 where a CPU
widens 16-bit weights (108 MB of the 3.3-2b): an allowance, not a measurement."""

QUANTIZING_BYTES: Final = 3
"""For each weight of the layer that is being quantised: its rounded numbers, their packed form and what packing takes."""


class MemoryEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes a model needs in one dtype; `parameters` counts tied weights once and the merged adapter not at all."""

    dtype: DtypeName
    parameters: int
    weights_bytes: int
    activations_bytes: int
    kv_cache_bytes: int
    kept_bytes: int = 0
    adapter_bytes: int = 0
    largest_matrix_bytes: int = 0

    @property
    def working_bytes(self) -> int:
        """Bytes beside the weights while it serves."""
        return self.activations_bytes + self.kv_cache_bytes + self.kept_bytes + WORKSPACE_BYTES

    @property
    def loading_bytes(self) -> int:
        """Peak while it loads."""
        return self.weights_bytes + self.adapter_bytes + self.largest_matrix_bytes

    @property
    def required_bytes(self) -> int:
        """What has to be free before loading starts."""
        return max(self.loading_bytes, self.weights_bytes + self.working_bytes)


Estimates = Mapping[DtypeName, MemoryEstimate]
"""What a model needs in each dtype."""


def load_config(folder: Path) -> PreTrainedConfig:
    """The configuration of a model folder, as transformers takes it.

    Raises:
        CheckpointError: there is none, or it is not a usable Granite Speech configuration.
    """
    return transformers_config(read_config(folder))


def build_on_meta(config: PreTrainedConfig) -> PreTrainedModel:
    """The model of a configuration without memory for its weights; takes 0.2 s for the 8B.

    Raises:
        CheckpointError: not a Granite Speech configuration.
    """
    import torch  # noqa: PLC0415 - see the top

    with torch.device("meta"):
        return _model_class(config)(config)


def _model_class(config: PreTrainedConfig) -> type[PreTrainedModel]:
    try:
        return model_class(Architecture(config.model_type))
    except ValueError:
        known = ", ".join(architecture.value for architecture in Architecture)
        raise CheckpointError(
            f"model_type {config.model_type!r} is not Granite Speech (which is {known})"
        ) from None


def estimate_memory(
    config: PreTrainedConfig | Path,
    *,
    batch: int = 1,
    new_tokens: int = NEW_TOKENS,
    quantization: Quantization = "none",
) -> Estimates:
    """What a checkpoint needs to serve `batch` windows of 30 s at a time.

    Args:
        config: A configuration or a model folder; with a folder, its `adapter_config.json` gives the adapter's rank and
            targets.
        batch: Windows in one call.
        new_tokens: Longest transcript of a window, in tokens.
        quantization: Of the weights; the dtype is then that of all else.

    Raises:
        CheckpointError: not a usable Granite Speech configuration.
    """
    if not isinstance(config, Path):
        return _estimate(config, None, batch, new_tokens, quantization)
    with refuse_unusable(str(config)):
        adapter = read_adapter_config(config)
        return _estimate(load_config(config), adapter, batch, new_tokens, quantization)


def _estimate(
    resolved: Any, adapter: AdapterConfig | None, batch: int, new_tokens: int, quantization: Quantization
) -> Estimates:
    model = build_on_meta(resolved)
    small = _small_layers(model, quantization)
    lora_parameters = adapter_parameters(model, adapter) if adapter or has_adapter(resolved) else 0
    sizes = [parameter.numel() for parameter in model.parameters()]
    return {
        dtype: MemoryEstimate(
            dtype=dtype,
            parameters=sum(sizes),
            weights_bytes=weight_bytes(model, item_bytes) + small.added_bytes(item_bytes),
            activations_bytes=batch * activation_bytes(resolved),
            kv_cache_bytes=batch * kv_cache_bytes(resolved, item_bytes, new_tokens),
            kept_bytes=kept_bytes(resolved),
            adapter_bytes=lora_parameters * item_bytes,
            largest_matrix_bytes=max(sizes) * (item_bytes if quantization == "none" else QUANTIZING_BYTES),
        )
        for dtype, item_bytes in DTYPE_BYTES.items()
    }


class _SmallLayers(msgspec.Struct, frozen=True):
    """The layers of a model that are quantised: how many parameters they are, shared ones once, and their bytes then."""

    parameters: int = 0
    bytes: int = 0

    def added_bytes(self, item_bytes: int) -> int:
        """Beside what the parameters would take with so many bytes each; less than nothing."""
        return self.bytes - self.parameters * item_bytes


def _small_layers(model: Any, quantization: Quantization) -> _SmallLayers:
    if quantization == "none" or not hasattr(model.config, "text_config"):
        return _SmallLayers()
    from lithophone.backends.quantization.layers import chosen_layers  # noqa: PLC0415 - see the top

    chosen = list(chosen_layers(model, quantization))
    weights = {id(one.layer.weight): one.layer.weight.numel() for one in chosen}
    return _SmallLayers(sum(weights.values()), sum(one.bytes for one in chosen))


def size_of(estimates: Estimates) -> ModelSize:
    """What a device plan asks of a model."""
    return ModelSize(
        parameters=next(iter(estimates.values())).parameters,
        required_bytes={dtype: estimate.required_bytes for dtype, estimate in estimates.items()},
    )


def format_gb(size_bytes: float) -> str:
    """Decimal gigabytes, the unit of model sizes; megabytes below a tenth."""
    if size_bytes < 1e8:
        return f"{size_bytes / 1e6:.0f} MB"
    return f"{size_bytes / 1e9:.1f} GB"
