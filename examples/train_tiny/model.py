"""The network in training form: the modules are Transformers' own, the forward pass is packed and compiled.

Owns the shape of the tiny checkpoint and a forward pass over packed rows of fixed total length, which computes what
`GraniteSpeechForConditionalGeneration` computes for each row alone. Knows nothing of data or losses.

A pack holds several rows in one sequence of frames. Each row starts at a multiple of the attention block, and its last
frames are masked, so that neither attention nor convolution reaches over to its neighbour.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import GraniteSpeechConfig, GraniteSpeechForConditionalGeneration

BLOCK = 100  # encoder frames per attention block: 2 s
KERNEL = 15
WINDOW = 15  # encoder frames per projector window
QUERIES = 3
GUARD_FRAMES = KERNEL // 2  # masked frames at the end of each row
AUDIO_TOKEN_ID = 3
NEGATIVE = -1e9


def tiny_config(vocabulary: int, *, width: int = 128, layers: int = 8) -> GraniteSpeechConfig:
    """The 4.x layout of Granite Speech, made small."""
    return GraniteSpeechConfig(
        encoder_config={
            "model_type": "granite_speech_encoder",
            "input_dim": 160,
            "num_layers": layers,
            "hidden_dim": width,
            "num_heads": 4,
            "dim_head": width // 4,
            "feedforward_mult": 4,
            "context_size": BLOCK,
            "max_pos_emb": 512,
            "output_dim": 256,
            "conv_kernel_size": KERNEL,
            "conv_expansion_factor": 2,
            "dropout": 0.0,
        },
        projector_config={
            "model_type": "blip_2_qformer",
            "hidden_size": width,
            "encoder_hidden_size": width,
            "num_hidden_layers": 1,
            "num_attention_heads": 4,
            "intermediate_size": 2 * width,
            "cross_attention_frequency": 1,
            "max_position_embeddings": 512,
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
            "use_qformer_text_input": False,
            "vocab_size": 1,
        },
        text_config={
            "model_type": "granite",
            "vocab_size": vocabulary,
            "hidden_size": 192,
            "intermediate_size": 384,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 4096,
            "embedding_multiplier": 12.0,
            "attention_multiplier": 48**-0.5,
            "residual_multiplier": 1.0,
            "logits_scaling": 1.0,
            "tie_word_embeddings": True,
            "bos_token_id": 0,
            "eos_token_id": 0,
            "pad_token_id": 1,
        },
        audio_token_index=AUDIO_TOKEN_ID,
        downsample_rate=WINDOW // QUERIES,
        window_size=WINDOW,
        has_lora_adapter=False,
        tie_word_embeddings=True,
    )


def new_model(config: GraniteSpeechConfig) -> GraniteSpeechForConditionalGeneration:
    """Fresh weights. Batch normalisation stays at its statistics of 0 and 1: it only scales and shifts."""
    model = GraniteSpeechForConditionalGeneration(config)
    model.requires_grad_(requires_grad=True)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.eval()
        elif isinstance(module, nn.Conv1d) and module.groups > 1:
            nn.init.normal_(module.weight, std=(2.0 / KERNEL) ** 0.5)
        elif isinstance(module, nn.Linear) or (isinstance(module, nn.Conv1d) and module.groups == 1):
            nn.init.trunc_normal_(module.weight, std=0.7 * module.weight.shape[1] ** -0.5)
    nn.init.normal_(model.lm_head.weight, std=1 / 12)
    nn.init.normal_(
        model.model.projector.linear.weight, std=model.model.projector.linear.in_features**-0.5 / 12
    )
    model.tie_weights()
    return model


def feed_forward(x: Tensor, p: tuple[Tensor, ...]) -> Tensor:
    """Normalisation and two linear layers with SiLU between them."""
    hidden = functional.layer_norm(x, (x.shape[-1],), p[0], p[1])
    return functional.linear(functional.silu(functional.linear(hidden, p[2], p[3])), p[4], p[5])


def by_distance(query: Tensor, table: Tensor) -> Tensor:
    """Products of every query with the embedding of its distance to every key, [..., query, key].

    One product with all distances and a shifted view of it (Dai et al. 2019, appendix B), where the products of each
    query with its own embeddings would be many small ones. `table`: from the farthest distance ahead to the farthest behind.
    """
    block = query.shape[-2]
    every = (query @ table.flip(0).T).flatten(-2)[..., block - 1 : block - 1 + block * (2 * block - 2)]
    return every.unflatten(-1, (block, 2 * block - 2))[..., :block]


def attention(x: Tensor, key_bias: Tensor, p: tuple[Tensor, ...], *, block: int) -> Tensor:
    """Self-attention within blocks of `block` frames, with Shaw's embeddings of the distance.

    One batched product takes the distances as what it adds to: where the compiler itself adds them, it lays the softmax
    out with the blocks innermost, and every product after that copies its matrices one by one.
    """
    frames, width = x.shape
    head = p[6].shape[1]
    heads = p[2].shape[0] // head
    hidden = functional.layer_norm(x, (width,), p[0], p[1])
    query = functional.linear(hidden, p[2]).view(-1, block, heads, head).transpose(1, 2)
    key, value = functional.linear(hidden, p[3]).view(-1, block, 2 * heads, head).transpose(1, 2).chunk(2, 1)
    middle = p[6].shape[0] // 2
    distances = by_distance(query, p[6][middle - block + 1 : middle + block]) + key_bias * head**0.5
    query, key, value = (each.reshape(-1, block, head) for each in (query, key, value))
    scores = torch.baddbmm(distances.reshape(-1, block, block), query, key.transpose(1, 2)) * head**-0.5
    mixed = torch.bmm(scores.softmax(-1), value).view(-1, heads, block, head).transpose(1, 2)
    return functional.linear(mixed.reshape(frames, -1), p[4], p[5])


def _before_taps(x: Tensor, mask: Tensor, key_bias: Tensor, p: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    x = x + 0.5 * feed_forward(x, p[0:6])
    x = x + attention(x, key_bias, p[6:13], block=BLOCK)
    hidden = functional.layer_norm(x, (x.shape[-1],), p[13], p[14])
    hidden = functional.glu(functional.linear(hidden, p[15].squeeze(-1), p[16]), -1) * mask
    return x, functional.pad(hidden, (0, 0, KERNEL // 2, KERNEL // 2))


def _taps(padded: Tensor, weight: Tensor) -> Tensor:
    """Depthwise convolution of [frames + KERNEL - 1, channels] with [channels, 1, KERNEL], channels innermost."""
    frames = padded.shape[0] - KERNEL + 1
    return sum(padded[tap : tap + frames] * weight[:, 0, tap] for tap in range(KERNEL))  # type: ignore[return-value]


def _after_taps(x: Tensor, tapped: Tensor, p: tuple[Tensor, ...]) -> Tensor:
    hidden = functional.silu(tapped * p[18] + p[19])
    x = x + functional.linear(hidden, p[20].squeeze(-1), p[21])
    x = x + 0.5 * feed_forward(x, p[22:28])
    return functional.layer_norm(x, (x.shape[-1],), p[28], p[29])


class ConformerLayer:
    """One conformer block over packed frames [frames, width].

    Compiled in three parts: in one, the compiler computes what enters the convolution anew for each of its taps.
    """

    def __init__(self, *, compiled: bool) -> None:
        parts = (_before_taps, _taps, _after_taps)
        self._before, self._taps, self._after = (
            torch.compile(part, dynamic=False) if compiled else part for part in parts
        )

    def __call__(self, x: Tensor, mask: Tensor, key_bias: Tensor, p: tuple[Tensor, ...]) -> Tensor:
        """`p` as `conformer_parameters` gives it; `mask` [frames, 1] and `key_bias` [blocks, 1, 1, BLOCK]."""
        x, padded = self._before(x, mask, key_bias, p)
        return self._after(x, self._taps(padded, p[17]), p)


def conformer_parameters(layer: nn.Module) -> tuple[Tensor, ...]:
    """The weights of one conformer block in the order `ConformerLayer` takes them."""

    def two_layers(m: Any) -> list[Tensor]:
        return [*m.pre_norm.parameters(), *m.up_proj.parameters(), *m.down_proj.parameters()]

    a, c = layer.attn, layer.conv
    attention = [a.pre_norm.weight, a.pre_norm.bias, a.to_q.weight, a.to_kv.weight]
    attention += [a.to_out.weight, a.to_out.bias, a.rel_pos_emb.weight]
    convolution = [*c.norm.parameters(), *c.up_conv.parameters(), c.depth_conv.conv.weight]
    convolution += [*c.batch_norm.parameters(), *c.down_conv.parameters()]
    return (
        *two_layers(layer.ff1), *attention, *convolution, *two_layers(layer.ff2), *layer.post_norm.parameters()
    )  # fmt: skip


def _rms_norm(x: Tensor, weight: Tensor) -> Tensor:
    return weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat((-second, first), -1) * sin


def decoder_layer(
    x: Tensor, bias: Tensor, cos: Tensor, sin: Tensor, p: tuple[Tensor, ...], *, scale: float
) -> Tensor:
    """One Granite decoder block over packed tokens [tokens, width]; `bias` [tokens, tokens] keeps rows apart."""
    head = cos.shape[-1]
    tokens = x.shape[0]
    hidden = _rms_norm(x, p[0])
    query = _rotate(functional.linear(hidden, p[1]).view(tokens, -1, head).transpose(0, 1), cos, sin)
    key = _rotate(functional.linear(hidden, p[2]).view(tokens, -1, head).transpose(0, 1), cos, sin)
    value = functional.linear(hidden, p[3]).view(tokens, -1, head).transpose(0, 1)
    groups = query.shape[0] // key.shape[0]
    key, value = key.repeat_interleave(groups, 0), value.repeat_interleave(groups, 0)
    scores = query @ key.transpose(-1, -2) * scale + bias
    x = x + functional.linear((scores.softmax(-1) @ value).transpose(0, 1).reshape(tokens, -1), p[4])
    hidden = _rms_norm(x, p[5])
    gated = functional.silu(functional.linear(hidden, p[6])) * functional.linear(hidden, p[7])
    return x + functional.linear(gated, p[8])


def decoder_parameters(layer: Any) -> tuple[Tensor, ...]:
    """The weights of one decoder block in the order `decoder_layer` takes them."""
    a, m = layer.self_attn, layer.mlp
    names = [layer.input_layernorm, a.q_proj, a.k_proj, a.v_proj, a.o_proj, layer.post_attention_layernorm]
    return tuple(module.weight for module in [*names, m.gate_proj, m.up_proj, m.down_proj])


class Network(nn.Module):
    """The packed forward passes of one model."""

    def __init__(self, model: GraniteSpeechForConditionalGeneration, *, compiled: bool) -> None:
        super().__init__()
        self.hf = model
        self.encoder, self.projector = model.model.encoder, model.model.projector
        self.decoder = model.model.language_model
        self._conformer = ConformerLayer(compiled=compiled)
        self._decoder_layer = torch.compile(decoder_layer, dynamic=False) if compiled else decoder_layer

    def encode(self, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden states and the middle layer's CTC logits, both [frames, …]."""
        key_bias = ((1 - mask) * NEGATIVE).view(-1, 1, 1, BLOCK)
        hidden = self.encoder.input_linear(features)
        middle = hidden
        for index, layer in enumerate(self.encoder.layers, start=1):
            hidden = self._conformer(hidden, mask[:, None], key_bias, conformer_parameters(layer))
            if index == self.encoder.num_layers // 2:
                middle = self.encoder.out(hidden)
                hidden = hidden + self.encoder.out_mid(middle.softmax(-1))
        return hidden, middle

    def project(self, hidden: Tensor, windows: Tensor) -> Tensor:
        """Audio tokens [windows * 3, width] of frame indices [windows, 15]; an index of -1 reads zeros."""
        padded = torch.cat((hidden, hidden.new_zeros(1, hidden.shape[1])))
        queries = self.projector.qformer(
            query_embeds=self.projector.query, encoder_hidden_states=padded[windows], return_dict=True
        ).last_hidden_state
        return self.projector.linear(queries).flatten(0, 1)

    def decode(self, embeddings: Tensor, rows: Tensor, positions: Tensor) -> Tensor:
        """Final hidden states of packed tokens; attention is causal within the same row of `rows`."""
        x = embeddings * self.decoder.embedding_multiplier
        cos, sin = self.decoder.rotary_emb(x[None], positions[None])
        order = torch.arange(len(rows))
        allowed = (rows[:, None] == rows[None]) & (order[:, None] >= order[None])
        bias = torch.zeros(allowed.shape).masked_fill_(~allowed, NEGATIVE)
        scale = self.hf.config.text_config.attention_multiplier
        for layer in self.decoder.layers:
            x = self._decoder_layer(x, bias, cos[0], sin[0], decoder_parameters(layer), scale=scale)
        return _rms_norm(x, self.decoder.norm.weight)

    @property
    def embedding(self) -> Tensor:
        """The token embeddings, which are also the output layer."""
        return self.decoder.embed_tokens.weight
