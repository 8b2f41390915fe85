"""The CTC sibling in training form: the modules are Transformers' own, the forward pass is packed and compiled.

Owns the shape of `granite-speech-tiny-ctc` and a forward pass over packed rows of fixed total length, which computes what
`GraniteSpeech5ForCTC` computes for each row alone. Knows nothing of data or losses.

Rows start at multiples of `SLOT`, where the attention blocks of all three frame rates (20, 40 and 80 ms) begin, and their
last frames are masked, so that neither attention nor convolution reaches over to a neighbour.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import GraniteSpeech5CTCConfig, GraniteSpeech5ForCTC

from .ctc_vocabulary import BLANK_ID
from .model import NEGATIVE, attention, feed_forward

BLOCK = 64  # frames per attention block at every rate: 1.28, 2.56 and 5.12 s
KERNEL = 7
SUBSAMPLING = 4  # input frames of 20 ms per label
SLOT = BLOCK * SUBSAMPLING  # input frames: 5.12 s
GUARD_FRAMES = (KERNEL // 2 + 1) * SUBSAMPLING  # masked frames at the end of each row


def ctc_config(pieces: int, *, width: int = 128, layers: int = 6) -> GraniteSpeech5CTCConfig:
    """The layout of Granite Speech 5.0, made small."""
    return GraniteSpeech5CTCConfig(
        vocab_size=pieces,
        pad_token_id=BLANK_ID,
        encoder_config={
            "vocab_size": pieces,
            "hidden_size": width,
            "intermediate_size": 4 * width,
            "num_hidden_layers": layers,
            "num_attention_heads": 4,
            "num_mel_bins": 80,
            "context_size": BLOCK,
            "max_position_embeddings": BLOCK,
            "conv_kernel_size": KERNEL,
            "conv_expansion_factor": 2,
            "subsample_layers": [0, 1],
        },
    )


def new_ctc_model(config: GraniteSpeech5CTCConfig) -> GraniteSpeech5ForCTC:
    """Fresh weights. Batch normalisation stays at its statistics of 0 and 1: it only scales and shifts."""
    model = GraniteSpeech5ForCTC(config)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.eval()
        elif isinstance(module, nn.Conv1d):
            nn.init.normal_(module.weight, std=(2.0 / KERNEL) ** 0.5)
        elif isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.7 * module.weight.shape[1] ** -0.5)
    model.tie_weights()
    return model


def _convolution(x: Tensor, mask: Tensor, p: tuple[Tensor, ...], *, stride: int) -> Tensor:
    hidden = functional.layer_norm(x, (x.shape[-1],), p[0], p[1])
    hidden = functional.glu(functional.linear(hidden, p[2], p[3]), -1) * mask
    channels = p[4].shape[0]
    hidden = functional.conv1d(hidden.T[None], p[4], stride=stride, padding=KERNEL // 2, groups=channels)[0].T
    return functional.linear(functional.silu(hidden * p[5] + p[6]), p[7], p[8])


def ctc_layer(x: Tensor, mask: Tensor, key_bias: Tensor, p: tuple[Tensor, ...], *, stride: int) -> Tensor:
    """One conformer block over packed frames [frames, width]; with a stride of 2 it halves the frames."""
    x = x + 0.5 * feed_forward(x, p[0:6])
    x = x + attention(x, key_bias, p[6:13], block=BLOCK)
    pooled = x if stride == 1 else x.unflatten(0, (-1, stride)).mean(1)
    x = pooled + _convolution(x, mask, p[13:22], stride=stride)
    x = x + 0.5 * feed_forward(x, p[22:28])
    return functional.layer_norm(x, (x.shape[-1],), p[28], p[29])


def ctc_parameters(layer: Any) -> tuple[Tensor, ...]:
    """The weights of one conformer block in the order `ctc_layer` takes them."""
    a, c = layer.self_attn, layer.conv
    key_value = torch.cat((a.k_proj.weight, a.v_proj.weight))
    parts = [*layer.norm_feed_forward1.parameters(), *layer.feed_forward1.parameters()]
    parts += [*layer.norm_self_att.parameters(), a.q_proj.weight, key_value, *a.o_proj.parameters()]
    parts += [a.rel_pos_emb.weight, *layer.norm_conv.parameters(), *c.pointwise_lin1.parameters()]
    parts += [c.depthwise_conv.weight, *c.norm.parameters(), *c.pointwise_lin2.parameters()]
    parts += [*layer.norm_feed_forward2.parameters(), *layer.feed_forward2.parameters()]
    return (*parts, *layer.norm_out.parameters())


class CtcNetwork:
    """The packed forward pass of one model."""

    def __init__(self, model: GraniteSpeech5ForCTC, *, compiled: bool) -> None:
        self.encoder = model.encoder
        self._halving = self.encoder.config.subsample_layers
        self._layer = torch.compile(ctc_layer, dynamic=False) if compiled else ctc_layer

    def logits(self, features: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the last and of the middle layer, [frames / 4, pieces], of features [frames, 320].

        `mask` [frames] is 1 for frames of a row, and rows are multiples of four frames long.
        """
        hidden = self.encoder.input_linear(features) * mask[:, None]
        middle = hidden
        for index, layer in enumerate(self.encoder.layers):
            stride = 2 if index in self._halving else 1
            key_bias = ((1 - mask) * NEGATIVE).view(-1, 1, 1, BLOCK)
            hidden = self._layer(hidden, mask[:, None], key_bias, ctc_parameters(layer), stride=stride)
            mask = mask[::stride]
            if index + 1 == len(self.encoder.layers) // 2:
                middle = self.encoder.out(hidden)
                hidden = hidden + self.encoder.out_mid(middle.softmax(-1))
        return self.encoder.out(hidden), middle
