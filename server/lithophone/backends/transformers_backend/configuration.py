"""What the JSON files of a checkpoint may say.

Owns the fields that shapes, numbers and our own code depend on, and what each may be. What is not named here decides
nothing: it is never handed to transformers. The limits lie far beyond the published members and far below what would
take minutes or memory to build. Knows no files and no torch.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated

import msgspec
from msgspec import Meta

from lithophone.granite.family import Architecture

FEATURES = 160  # log-mels of 80 bands, stacked by 2
LABELS = (256, 348)  # of the grapheme CTC head, without and with katakana
SUBSAMPLING_LAYERS = 2  # of 5.0: each halves time, to 80 ms a frame
LEAST_POSITIONS = 1024
"""A window of 30 s takes 300 places, its prompt about 100, its transcript about 200, or 500 with word times."""

ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu", "swish")

Layers = Annotated[int, Meta(ge=1, le=128)]
Width = Annotated[int, Meta(ge=1, le=65_536)]
FeedForward = Annotated[int, Meta(ge=1, le=262_144)]
Heads = Annotated[int, Meta(ge=1, le=1024)]
Vocabulary = Annotated[int, Meta(ge=2, le=1 << 20)]
Small = Annotated[int, Meta(ge=1, le=64)]
Frames = Annotated[int, Meta(ge=1, le=4096)]
Positions = Annotated[int, Meta(ge=LEAST_POSITIONS, le=1 << 24)]
TokenId = Annotated[int, Meta(ge=0, le=1 << 24)]
Factor = Annotated[float, Meta(gt=0, le=1e6)]
Epsilon = Annotated[float, Meta(ge=0, le=0.1)]
Base = Annotated[float, Meta(gt=1, le=1e12)]
EndTokens = TokenId | Annotated[list[TokenId], Meta(min_length=1, max_length=64)] | None


class RopeConfig(msgspec.Struct, frozen=True):
    """How positions are turned into rotations. The family knows one way."""

    rope_theta: Base | None = None
    rope_type: str | None = None
    type: str | None = None

    def __post_init__(self) -> None:
        for kind in (self.rope_type, self.type):
            _require_one_of("rope_type", kind or "default", ("default",))


class TextConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The language model; see transformers' `GraniteConfig`."""

    vocab_size: Vocabulary
    hidden_size: Width
    intermediate_size: FeedForward
    num_hidden_layers: Layers
    num_attention_heads: Heads
    model_type: str = "granite"
    num_key_value_heads: Heads | None = None
    head_dim: Heads | None = None
    hidden_act: str = "silu"
    max_position_embeddings: Positions = 2048
    rms_norm_eps: Epsilon = 1e-6
    attention_bias: bool | None = None
    mlp_bias: bool | None = None
    tie_word_embeddings: bool | None = None
    embedding_multiplier: Factor = 1.0
    logits_scaling: Factor = 1.0
    residual_multiplier: Factor = 1.0
    attention_multiplier: Factor = 1.0
    rope_theta: Base | None = None
    rope_scaling: RopeConfig | None = None
    rope_parameters: RopeConfig | None = None
    eos_token_id: EndTokens = None
    pad_token_id: TokenId | None = None

    def __post_init__(self) -> None:
        _require_one_of("model_type", self.model_type, ("granite",))
        _require_one_of("hidden_act", self.hidden_act, ACTIVATIONS)
        if self.head_dim is None:
            _require_multiple(
                "hidden_size", self.hidden_size, "num_attention_heads", self.num_attention_heads
            )
        if self.num_key_value_heads is not None:
            shared = self.num_key_value_heads
            _require_multiple("num_attention_heads", self.num_attention_heads, "num_key_value_heads", shared)
        width = self.head_dim or self.hidden_size // self.num_attention_heads
        _require_multiple("the width of a head", width, "the halves of a rotation", 2)
        if self.pad_token_id is not None and self.pad_token_id >= self.vocab_size:
            raise ValueError(f"pad_token_id {self.pad_token_id} is outside of the {self.vocab_size} tokens")


class EncoderConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The conformer of 3.x and 4.x; see transformers' `GraniteSpeechEncoderConfig` and its plus sibling."""

    num_layers: Layers
    hidden_dim: Width
    num_heads: Heads
    output_dim: Width
    input_dim: Width = FEATURES
    feedforward_mult: Small = 4
    dim_head: Heads | None = None
    context_size: Frames = 200
    max_pos_emb: Frames = 512
    conv_kernel_size: Annotated[int, Meta(ge=1, le=512)] = 15
    conv_expansion_factor: Small = 2
    cat_hidden_layers: Annotated[list[Annotated[int, Meta(ge=0)]], Meta(max_length=16)] | None = None

    def __post_init__(self) -> None:
        _require_one_of("input_dim", self.input_dim, (FEATURES,))
        if not LABELS[0] <= self.output_dim <= LABELS[-1]:
            raise ValueError(
                f"output_dim is {self.output_dim}: the labels known are {LABELS[0]} to {LABELS[-1]}"
            )
        if self.dim_head is None:
            _require_multiple("hidden_dim", self.hidden_dim, "num_heads", self.num_heads)
        if self.context_size > self.max_pos_emb:
            raise ValueError(
                f"context_size {self.context_size} is larger than max_pos_emb {self.max_pos_emb}"
            )
        if any(layer >= self.num_layers for layer in self.cat_hidden_layers or ()):
            raise ValueError(f"cat_hidden_layers names a layer beyond num_layers {self.num_layers}")


class ProjectorConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The Q-Former between encoder and language model; see transformers' `Blip2QFormerConfig`."""

    hidden_size: Width
    num_hidden_layers: Layers
    num_attention_heads: Heads
    intermediate_size: FeedForward
    encoder_hidden_size: Width
    model_type: str = "blip_2_qformer"
    hidden_act: str = "gelu"
    layer_norm_eps: Epsilon = 1e-12
    cross_attention_frequency: Layers = 2
    use_qformer_text_input: bool = False

    def __post_init__(self) -> None:
        _require_one_of("model_type", self.model_type, ("blip_2_qformer",))
        _require_one_of("hidden_act", self.hidden_act, ACTIVATIONS)
        _require_one_of("use_qformer_text_input", self.use_qformer_text_input, (False,))
        _require_multiple("hidden_size", self.hidden_size, "num_attention_heads", self.num_attention_heads)


class SpeechConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A model with a language model; see transformers' `GraniteSpeechConfig` and its plus sibling.

    `has_lora_adapter` left out means: if there is one.
    """

    model_type: str
    text_config: TextConfig
    encoder_config: EncoderConfig
    projector_config: ProjectorConfig
    audio_token_index: TokenId
    window_size: Annotated[int, Meta(ge=1, le=512)] = 15
    downsample_rate: Annotated[int, Meta(ge=1, le=512)] = 5
    has_lora_adapter: bool | None = None
    tie_word_embeddings: bool | None = None
    eos_token_id: EndTokens = None
    quantization_config: object = None

    def __post_init__(self) -> None:
        _refuse_quantized(self.quantization_config)
        _require_multiple("window_size", self.window_size, "downsample_rate", self.downsample_rate)
        encoder = self.encoder_config
        beside = encoder.cat_hidden_layers or ()
        if beside and self.model_type != Architecture.SPEECH_PLUS.value:
            raise ValueError(f"{self.model_type} has no cat_hidden_layers")
        seen = encoder.hidden_dim * (1 + len(beside))
        _require_one_of(
            "projector_config.encoder_hidden_size", self.projector_config.encoder_hidden_size, (seen,)
        )


class CtcEncoderConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The conformer of 5.0; see transformers' `GraniteSpeech5EncoderConfig`."""

    vocab_size: Vocabulary
    hidden_size: Width
    intermediate_size: FeedForward
    num_hidden_layers: Layers
    num_attention_heads: Heads
    num_key_value_heads: Heads | None = None
    num_mel_bins: Width = FEATURES // 2
    head_dim: Heads | None = None
    hidden_act: str = "silu"
    max_position_embeddings: Frames = 512
    context_size: Frames = 128
    conv_kernel_size: Annotated[int, Meta(ge=1, le=511)] = 7
    conv_expansion_factor: Small = 2
    subsample_layers: Annotated[list[Annotated[int, Meta(ge=0)]], Meta(max_length=16)] | None = None
    attention_bias: bool | None = None

    def __post_init__(self) -> None:
        _require_one_of("hidden_act", self.hidden_act, ACTIVATIONS)
        _require_one_of("num_mel_bins", self.num_mel_bins, (FEATURES // 2,))
        if self.head_dim is None:
            _require_multiple(
                "hidden_size", self.hidden_size, "num_attention_heads", self.num_attention_heads
            )
        if self.num_key_value_heads is not None:
            _require_one_of("num_key_value_heads", self.num_key_value_heads, (self.num_attention_heads,))
        if self.context_size > self.max_position_embeddings:
            most = self.max_position_embeddings
            raise ValueError(
                f"context_size {self.context_size} is larger than max_position_embeddings {most}"
            )
        _require_one_of("conv_kernel_size % 2", self.conv_kernel_size % 2, (1,))
        halving = {layer for layer in self.subsample_layers or range(2) if layer < self.num_hidden_layers}
        _require_one_of("the number of subsample_layers", len(halving), (SUBSAMPLING_LAYERS,))


class CtcConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A model that is a CTC head alone; see transformers' `GraniteSpeech5CTCConfig`."""

    model_type: str
    encoder_config: CtcEncoderConfig
    vocab_size: Vocabulary
    pad_token_id: TokenId = 0
    tie_word_embeddings: bool | None = None
    quantization_config: object = None

    def __post_init__(self) -> None:
        _refuse_quantized(self.quantization_config)
        _require_one_of("vocab_size", self.vocab_size, (self.encoder_config.vocab_size,))
        if self.pad_token_id >= self.vocab_size:
            raise ValueError(f"pad_token_id {self.pad_token_id} is outside of the {self.vocab_size} labels")


class AdapterConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A plain LoRA; see peft's `LoraConfig`. What makes it another kind of adapter is refused."""

    r: Annotated[int, Meta(ge=1, le=4096)]
    target_modules: Annotated[
        list[Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.]{1,100}$")]], Meta(min_length=1, max_length=64)
    ]
    lora_alpha: Factor = 8.0
    peft_type: str = "LORA"
    use_rslora: bool = False
    use_dora: bool = False
    fan_in_fan_out: bool = False
    lora_bias: bool = False
    bias: str = "none"
    rank_pattern: dict[str, object] | None = None
    alpha_pattern: dict[str, object] | None = None
    modules_to_save: list[str] | None = None
    layers_to_transform: object = None

    def __post_init__(self) -> None:
        _require_one_of("peft_type", self.peft_type, ("LORA",))
        _require_one_of("bias", self.bias, ("none",))
        for name in ("use_dora", "fan_in_fan_out", "lora_bias"):
            _require_one_of(name, getattr(self, name), (False,))
        for name in ("rank_pattern", "alpha_pattern", "modules_to_save", "layers_to_transform"):
            if getattr(self, name):
                raise ValueError(f"{name} is not served")


class GenerationConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a checkpoint says of generating; nothing but the end counts here."""

    eos_token_id: EndTokens = None


ModelConfig = SpeechConfig | CtcConfig
"""What `config.json` says of a model."""


def _require_one_of(name: str, value: object, allowed: Collection[object]) -> None:
    if value not in allowed:
        wanted = " or ".join(repr(choice) for choice in allowed)
        raise ValueError(f"{name} is {repr(value)[:60]}, must be {wanted}")


def _require_multiple(name: str, value: int, divisor_name: str, divisor: int) -> None:
    if value % divisor:
        raise ValueError(f"{name} ({value}) must be a multiple of {divisor_name} ({divisor})")


def _refuse_quantized(quantization: object) -> None:
    if quantization is not None:
        raise ValueError("quantization_config: quantised checkpoints are not served (see --quantization)")
