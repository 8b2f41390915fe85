"""How much memory a model needs, and whether it is there, before any weight file is opened.

Owns the estimate from a checkpoint's `config.json` (the model is built on torch's meta device, which allocates
nothing), the check against what the machine has free, and the table of the whole family. Loads no weights.

Formula: required = max(loading, serving).

- serving = weights + activations + key-value cache + what is kept of live windows + allowance for kernels' workspaces.
- loading = weights + LoRA adapter + the largest matrix once more (a tensor being converted, or a merge in progress).

transformers creates the model on the meta device and fills it tensor by tensor from memory-mapped safetensors, so
loading holds no second copy. Measured with a 473 M model on a CPU: in the checkpoint's own dtype the weights stay
file mappings (7 MB of anonymous memory); converted to float32 they are 1.8 GB anonymous beside 0.9 GB of mapped file,
which the kernel drops when it needs the room.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from lithophone.backends.device.facts import DTYPE_BYTES, DtypeName, TorchFacts
from lithophone.backends.device.plan import (
    DevicePlan,
    DeviceWishes,
    ModelSize,
    Quantization,
    plan_device,
)
from lithophone.backends.transformers_backend.architectures import model_class, transformers_config
from lithophone.backends.transformers_backend.configuration import AdapterConfig
from lithophone.backends.transformers_backend.folder import read_adapter_config, read_config
from lithophone.backends.transformers_backend.refusals import refuse_unusable
from lithophone.errors import CheckpointError, DoesNotFitError
from lithophone.granite.family import FAMILY, Architecture, ModelSpec

if TYPE_CHECKING:  # they take seconds to import, and a model that is too large is refused without them
    from transformers import PreTrainedConfig, PreTrainedModel

WINDOW_SECONDS = 30.0
FRAMES_PER_SECOND = 50  # encoder frames of 20 ms
PROMPT_TOKENS = 128  # instruction, template and keywords
KEPT_WINDOWS = 16
"""Live windows of which the encoder keeps what is settled, if each were full; they are half of that on average."""
NEW_TOKENS = 512  # a window's transcript (about 200), or its words with their times
LORA_RANK = 64
LORA_TARGETS = ("q_proj", "v_proj")
FLOAT32_BYTES = 4

WORKSPACE_BYTES = 256 << 20
"""For the workspaces of matrix libraries, the allocator's slack, and the encoder layer that is held in float32 where a CPU
widens 16-bit weights (108 MB of the 3.3-2b): an allowance, not a measurement."""

QUANTIZING_BYTES = 3
"""For each weight of the layer that is being quantised: its rounded numbers, their packed form and what packing takes."""

SMALL_BYTES: Mapping[Quantization, float] = {"int8": 1.0, "int4": 0.67}
SMALL_FIXED_BYTES = 400 << 20
"""Of quantised members by their number of parameters alone: the encoder stays in 8 bits, embeddings are there twice, the
projector is not quantised. As much again is what it takes to work. A test compares both with the exact ones."""

SERVING_ALLOWANCE_BYTES = 768 << 20
"""Upper bound of everything but weights for one 30 s window of any family member in any dtype (a test keeps it so)."""


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


class DtypeFit(msgspec.Struct, frozen=True, kw_only=True):
    """What a model needs in one dtype, and where that much is free; `fits_gpu` is None without a GPU to use."""

    dtype: DtypeName
    required_bytes: int
    fits_cpu: bool
    fits_gpu: bool | None


class SmallFit(msgspec.Struct, frozen=True, kw_only=True):
    """What a model needs on a CPU with quantised weights, and whether that much is free."""

    quantization: Quantization
    required_bytes: int
    fits_cpu: bool


class FitRow(msgspec.Struct, frozen=True, kw_only=True):
    """One family member of the fit table; `small_fits` is empty for a model that is never quantised."""

    model_id: str
    parameters: int
    fits: tuple[DtypeFit, ...]
    small_fits: tuple[SmallFit, ...] = ()


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


Estimates = Mapping[DtypeName, MemoryEstimate]
"""What a model needs in each dtype."""


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
    adapter_parameters = _adapter_parameters(model, adapter) if adapter or _has_adapter(resolved) else 0
    sizes = [parameter.numel() for parameter in model.parameters()]
    return {
        dtype: MemoryEstimate(
            dtype=dtype,
            parameters=sum(sizes),
            weights_bytes=_weight_bytes(model, item_bytes) + small.added_bytes(item_bytes),
            activations_bytes=batch * _activation_bytes(resolved),
            kv_cache_bytes=batch * _kv_cache_bytes(resolved, item_bytes, new_tokens),
            kept_bytes=kept_bytes(resolved),
            adapter_bytes=adapter_parameters * item_bytes,
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


def estimate_from_registry(spec: ModelSpec, quantization: Quantization = "none") -> Estimates:
    """The same by parameter count alone, before even the configuration of a published model is fetched."""
    return {
        dtype: MemoryEstimate(
            dtype=dtype,
            parameters=spec.parameters,
            weights_bytes=_registered_bytes(spec, dtype, quantization),
            activations_bytes=max(0, _margin_bytes(spec, dtype) - WORKSPACE_BYTES),
            kv_cache_bytes=0,
        )
        for dtype in DTYPE_BYTES
    }


def size_of(estimates: Estimates) -> ModelSize:
    """What a device plan asks of a model."""
    return ModelSize(
        parameters=next(iter(estimates.values())).parameters,
        required_bytes={dtype: estimate.required_bytes for dtype, estimate in estimates.items()},
    )


def plan_for(
    model_name: str,
    estimates: Estimates,
    facts: TorchFacts,
    wishes: DeviceWishes,
    environ: Mapping[str, str] | None = None,
    *,
    overflow: str = "",
) -> DevicePlan:
    """Where a model of known size runs; `overflow` is what was seen of it in float16, if that does not serve it.

    Raises:
        DoesNotFitError: nowhere; says what is needed, what is free and what would fit.
        ConfigurationError, DeviceUnavailableError: see `plan_device`.
    """
    plan = plan_device(facts, wishes, size=size_of(estimates), environ=environ, overflow=overflow)
    check_fits(model_name, estimates[plan.dtype], facts, plan)
    return plan


def budget_bytes(facts: TorchFacts, plan: DevicePlan) -> int:
    """Bytes that the model may take: what is free, as far as it is the model's to take."""
    free = _free_bytes(facts, plan)
    return free if facts.room_bytes is None else min(free, facts.room_bytes)


def _free_bytes(facts: TorchFacts, plan: DevicePlan) -> int:
    """What torch reports for the GPUs of the plan, or the CPU's available memory.

    On unified memory torch's own figure counts, not a table of VRAM sizes. With CPU offload both are added.
    """
    gpus = sum(facts.gpus[index].budget_bytes for index in plan.gpu_indexes)
    system = facts.cpu.available_bytes if plan.kind == "cpu" or plan.cpu_offload else 0
    return gpus + system


def check_fits(model_name: str, estimate: MemoryEstimate, facts: TorchFacts, plan: DevicePlan) -> None:
    """Refuse a model that is larger than the memory it may take.

    Raises:
        DoesNotFitError: says what is needed, what is free and what would fit.
    """
    free = budget_bytes(facts, plan)
    if estimate.required_bytes <= free:
        return
    where = _where(plan) if free == _free_bytes(facts, plan) else "of the memory budget"
    raise DoesNotFitError(
        f"{model_name} in {estimate.dtype} needs {format_gb(estimate.required_bytes)} "
        f"({format_gb(estimate.weights_bytes)} of weights), but {format_gb(free)} is free {where}. "
        f"{_alternatives(model_name, estimate, facts, plan)}",
        lacking_bytes=estimate.required_bytes - free,
    )


def family_fit_table(facts: TorchFacts, wishes: DeviceWishes) -> tuple[FitRow, ...]:
    """Every family member in every dtype: what it needs, and whether the CPU and the GPUs that would serve it have it.

    Approximate: weights by parameter count plus `SERVING_ALLOWANCE_BYTES`. `check_fits` is the exact answer.

    Raises:
        StartupError: the device or dtype wished for cannot be had.
    """
    return tuple(
        FitRow(
            model_id=spec.id,
            parameters=spec.parameters,
            fits=tuple(_dtype_fit(spec, dtype, facts, wishes) for dtype in DTYPE_BYTES),
            small_fits=_small_fits(spec, facts),
        )
        for spec in FAMILY.values()
    )


def approximate_bytes(spec: ModelSpec, dtype: DtypeName) -> int:
    """Weights of a family member plus a margin that grows with them up to the whole allowance."""
    return spec.parameters * DTYPE_BYTES[dtype] + _margin_bytes(spec, dtype)


def _registered_bytes(spec: ModelSpec, dtype: DtypeName, quantization: Quantization) -> int:
    """Weights by their number alone."""
    if quantization == "none":
        return spec.parameters * DTYPE_BYTES[dtype]
    return SMALL_FIXED_BYTES + round(spec.parameters * SMALL_BYTES[quantization])


def _small_fits(spec: ModelSpec, facts: TorchFacts) -> tuple[SmallFit, ...]:
    if spec.architecture is Architecture.CTC or spec.demonstration:
        return ()
    needs: dict[Quantization, int] = {one: approximate_small_bytes(spec, one) for one in SMALL_BYTES}
    free = facts.cpu.available_bytes
    return tuple(
        SmallFit(quantization=one, required_bytes=needed, fits_cpu=needed <= free)
        for one, needed in needs.items()
    )


def approximate_small_bytes(spec: ModelSpec, quantization: Quantization) -> int:
    """What a family member takes with quantised weights."""
    return _registered_bytes(spec, "bfloat16", quantization) + SMALL_FIXED_BYTES


def _margin_bytes(spec: ModelSpec, dtype: DtypeName) -> int:
    return min(SERVING_ALLOWANCE_BYTES, WORKSPACE_BYTES + spec.parameters * DTYPE_BYTES[dtype] // 6)


def format_gb(size_bytes: float) -> str:
    """Decimal gigabytes, the unit of model sizes; megabytes below a tenth."""
    if size_bytes < 1e8:
        return f"{size_bytes / 1e6:.0f} MB"
    return f"{size_bytes / 1e9:.1f} GB"


def _dtype_fit(spec: ModelSpec, dtype: DtypeName, facts: TorchFacts, wishes: DeviceWishes) -> DtypeFit:
    required = approximate_bytes(spec, dtype)
    asked = msgspec.structs.replace(wishes, dtype=dtype)
    plan = plan_device(facts, asked, size=size_of(estimate_from_registry(spec)))
    return DtypeFit(
        dtype=dtype,
        required_bytes=required,
        fits_cpu=required <= facts.cpu.available_bytes,
        fits_gpu=None if plan.kind == "cpu" else required <= budget_bytes(facts, plan),
    )


def _where(plan: DevicePlan) -> str:
    if plan.kind == "cpu":
        return "in system memory"
    count = len(plan.gpu_indexes)
    gpus = "on the GPU" if count == 1 else f"on {count} GPUs"
    return f"{gpus} and in system memory" if plan.cpu_offload else gpus


def _alternatives(model_name: str, estimate: MemoryEstimate, facts: TorchFacts, plan: DevicePlan) -> str:
    free = budget_bytes(facts, plan)
    smaller = [
        *(f"--dtype {dtype}" for dtype in _smaller_dtypes(estimate, free)),
        *_smaller_weights(model_name, estimate, free, facts, plan),
    ]
    members = [
        f"{spec.id} ({'any dtype' if len(dtypes) == len(DTYPE_BYTES) else ', '.join(dtypes)})"
        for spec in FAMILY.values()
        if spec.id not in model_name and not spec.demonstration and (dtypes := _fitting_dtypes(spec, free))
    ]
    found = [*([f"this model with {' or '.join(smaller)}"] if smaller else []), *members]
    return f"What would fit: {'; '.join(found)}." if found else "No model of the family would fit."


def _smaller_weights(
    model_name: str, estimate: MemoryEstimate, free: int, facts: TorchFacts, plan: DevicePlan
) -> list[str]:
    """On a CPU, the first way to quantise a member of the family that makes it fit."""
    spec = FAMILY.get(model_name)
    if plan.kind != "cpu" or plan.quantization != "none" or spec is None or not _small_fits(spec, facts):
        return []
    for one in SMALL_BYTES:
        if _registered_bytes(spec, estimate.dtype, one) + estimate.working_bytes <= free:
            return [f"--quantization {one}"]
    return []


def _smaller_dtypes(estimate: MemoryEstimate, free: int) -> list[DtypeName]:
    size = DTYPE_BYTES[estimate.dtype]
    fixed = estimate.working_bytes
    return [
        dtype
        for dtype, other in DTYPE_BYTES.items()
        if other < size and estimate.weights_bytes * other // size + fixed <= free
    ]


def _fitting_dtypes(spec: ModelSpec, free: int) -> list[DtypeName]:
    return [dtype for dtype in DTYPE_BYTES if approximate_bytes(spec, dtype) <= free]


def _model_class(config: PreTrainedConfig) -> type[PreTrainedModel]:
    try:
        return model_class(Architecture(config.model_type))
    except ValueError:
        known = ", ".join(architecture.value for architecture in Architecture)
        raise CheckpointError(
            f"model_type {config.model_type!r} is not Granite Speech (which is {known})"
        ) from None


def _weight_bytes(model: PreTrainedModel, item_bytes: int) -> int:
    """Parameters come without duplicates from torch; integer buffers keep their own size."""
    tensors = [*model.parameters(), *model.buffers()]
    return sum(t.numel() * (item_bytes if t.is_floating_point() else t.element_size()) for t in tensors)


def _has_adapter(config: Any) -> bool:
    return bool(getattr(config, "has_lora_adapter", False))


def _adapter_parameters(model: Any, adapter: AdapterConfig | None) -> int:
    """LoRA adds [rank, in] and [out, rank] to each target (arXiv 2106.09685); without a file, as IBM published 3.3."""
    from torch import nn  # noqa: PLC0415 - see the top

    rank, targets = (adapter.r, adapter.target_modules) if adapter else (LORA_RANK, LORA_TARGETS)
    adapted = [
        module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and name.rsplit(".", 1)[-1] in targets
    ]
    return sum(rank * (module.in_features + module.out_features) for module in adapted)


def _activation_bytes(config: Any) -> int:
    """Peak of intermediate tensors for one window: encoder, prompt pass or CTC logits, one at a time.

    Everything counts as float32, whatever the weights: softmax and norms convert.
    """
    frames = int(WINDOW_SECONDS * FRAMES_PER_SECOND)
    candidates = [_encoder_activations(config.encoder_config, frames)]
    if hasattr(config, "text_config"):
        candidates.append(_prompt_activations(config, frames))
    else:
        logit_frames = frames >> len(
            config.encoder_config.subsample_layers
        )  # each of these layers halves time
        candidates.append(3 * logit_frames * config.vocab_size)  # logits, their softmax, and its copy
    return max(candidates) * FLOAT32_BYTES


def _encoder_activations(encoder: Any, frames: int) -> int:
    """Elements alive inside one conformer block, at its attention (`modeling_granite_speech.py`).

    Eight tensors of [frames, hidden] (block input, normed and padded input, q, k, v, copies), the relative position
    table [context, context, head], and four of the scores [blocks, heads, context, context]. torch's profiler
    measured 107 MB in float32 and 92 MB in bfloat16 for the 3.x/4.x encoder on a CPU; this gives 114 MB.
    """
    context = encoder.context_size
    blocks = math.ceil(frames / context)
    scores = blocks * encoder.num_attention_heads * context * context
    head = getattr(encoder, "dim_head", None) or encoder.head_dim
    return 8 * blocks * context * encoder.hidden_size + context * context * head + 4 * scores


def kept_bytes(config: Any) -> int:
    """The most that is kept of live windows while they grow, by models with a language model (`decoding.growing`).

    Of each window the encoder's hidden states, whose width is that of all layers it exports, and for each layer the frames
    that its convolution reaches back to: 6.9 MB for 30 s of a 3.x or 4.x model. In float32, as CPUs widen them.
    """
    if not hasattr(config, "text_config"):
        return 0
    encoder = config.encoder_config
    frames = int(WINDOW_SECONDS * FRAMES_PER_SECOND)
    exported = 1 + len(getattr(encoder, "cat_hidden_layers", None) or ())
    reach = encoder.conv_kernel_size // 2
    edges = encoder.num_layers * reach * encoder.hidden_size * encoder.conv_expansion_factor
    return KEPT_WINDOWS * (frames * exported * encoder.hidden_size + edges) * FLOAT32_BYTES


def _prompt_activations(config: Any, frames: int) -> int:
    """Elements alive inside one decoder layer while it reads the prompt, plus the last position's logits.

    Gate, up and their product of [tokens, ffn], and six of [tokens, hidden]: 94 MB with a cache of two layers for the
    8B in float32, where the profiler measured 89 MB.
    """
    text = config.text_config
    tokens = _audio_tokens(config, frames) + PROMPT_TOKENS
    return tokens * (3 * text.intermediate_size + 6 * text.hidden_size) + 3 * text.vocab_size


def _audio_tokens(config: Any, frames: int) -> int:
    return math.ceil(frames / config.window_size) * (config.window_size // config.downsample_rate)


def _kv_cache_bytes(config: Any, item_bytes: int, new_tokens: int) -> int:
    """Keys and values of every layer for audio, prompt and transcript; a CTC model has none."""
    if not hasattr(config, "text_config"):
        return 0
    text = config.text_config
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    tokens = _audio_tokens(config, int(WINDOW_SECONDS * FRAMES_PER_SECOND)) + PROMPT_TOKENS + new_tokens
    return 2 * text.num_hidden_layers * text.num_key_value_heads * head * tokens * item_bytes
