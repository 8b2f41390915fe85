"""Bytes of a model's parts by its configuration, for one window of 30 s: arithmetic alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from lithophone.backends.transformers_backend.configuration import AdapterConfig

if TYPE_CHECKING:  # it takes seconds to import, and a model that is too large is refused without it
    from transformers import PreTrainedModel

WINDOW_SECONDS: Final = 30.0
FRAMES_PER_SECOND: Final = 50  # encoder frames of 20 ms
PROMPT_TOKENS: Final = 128  # instruction, template and keywords
KEPT_WINDOWS: Final = 16
"""Live windows of which the encoder keeps what is settled, if each were full; they are half of that on average."""
NEW_TOKENS: Final = 512  # a window's transcript (about 200), or its words with their times
LORA_RANK: Final = 64
LORA_TARGETS: Final = ("q_proj", "v_proj")
FLOAT32_BYTES: Final = 4


def weight_bytes(model: PreTrainedModel, item_bytes: int) -> int:
    """Parameters come without duplicates from torch; integer buffers keep their own size."""
    tensors = [*model.parameters(), *model.buffers()]
    return sum(t.numel() * (item_bytes if t.is_floating_point() else t.element_size()) for t in tensors)


def has_adapter(config: Any) -> bool:
    """Whether the configuration says that a LoRA adapter belongs to the weights."""
    return bool(getattr(config, "has_lora_adapter", False))


def adapter_parameters(model: Any, adapter: AdapterConfig | None) -> int:
    """LoRA adds [rank, in] and [out, rank] to each target (arXiv 2106.09685); without a file, as IBM published 3.3."""
    from torch import nn  # noqa: PLC0415 - see the top

    rank, targets = (adapter.r, adapter.target_modules) if adapter else (LORA_RANK, LORA_TARGETS)
    adapted = [
        module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and name.rsplit(".", 1)[-1] in targets
    ]
    return sum(rank * (module.in_features + module.out_features) for module in adapted)


def activation_bytes(config: Any) -> int:
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


def kv_cache_bytes(config: Any, item_bytes: int, new_tokens: int) -> int:
    """Keys and values of every layer for audio, prompt and transcript; a CTC model has none."""
    if not hasattr(config, "text_config"):
        return 0
    text = config.text_config
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    tokens = _audio_tokens(config, int(WINDOW_SECONDS * FRAMES_PER_SECOND)) + PROMPT_TOKENS + new_tokens
    return 2 * text.num_hidden_layers * text.num_key_value_heads * head * tokens * item_bytes


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
