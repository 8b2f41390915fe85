"""The CTC sibling's first weights: those of the big model's encoder, moved to other frame rates.

Owns how a conformer that works at 20 ms becomes one that halves its frames twice: everything that looks at one frame is
copied; relative positions are taken at the wider distances; convolution taps are added up into the wider frames they fall
in. What comes out is the average, over the frames that become one, of what the big encoder would have computed, as far as
that changes slowly. Input weights for the slopes are zero, and the head is new.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import GraniteSpeech5ForCTC

from .ctc_model import BLOCK, KERNEL, SUBSAMPLING
from .model import BLOCK as BIG_BLOCK

ENCODER = "model.encoder."
MEL = 80


def wider_taps(taps: Tensor, rate_in: int, rate_out: int) -> Tensor:
    """Taps [channels, 1, KERNEL] over frames of `rate_in` steps, of taps over single steps; outputs span `rate_out`."""
    wider = taps.new_zeros(taps.shape[0], 1, KERNEL)
    reach, old_reach = KERNEL // 2, taps.shape[-1] // 2
    for step in range(rate_out):
        for offset in range(-old_reach, old_reach + 1):
            place = max(-reach, min(reach, (step + offset) // rate_in))
            wider[..., place + reach] += taps[..., offset + old_reach] / rate_out
    return wider


def wider_positions(table: Tensor, rate: int) -> Tensor:
    """Embeddings of distances in frames of `rate` steps, [2 BLOCK + 1, head]; farther than the big block, its edge."""
    distance = (torch.arange(-BLOCK, BLOCK + 1) * rate).clamp(1 - BIG_BLOCK, BIG_BLOCK - 1)
    return table[distance + table.shape[0] // 2]


def layers_of(state: dict[str, Tensor]) -> int:
    """How many conformer blocks the big encoder has."""
    return len({name.split(".")[3] for name in state if name.startswith(f"{ENCODER}layers.")})


def spread(count: int, wanted: int) -> list[int]:
    """`wanted` of `count` places at even distances."""
    return [round(place * (count - 1) / (wanted - 1)) for place in range(wanted)]


@torch.no_grad()
def start_from_encoder(model: GraniteSpeech5ForCTC, state: dict[str, Tensor]) -> None:
    """Fill `model` from the state of `GraniteSpeechForConditionalGeneration`, as wide and at least as deep.

    Of more layers than `model` has, those at even distances are taken, the first and the last among them.
    """
    encoder: Any = model.encoder
    weight = state[ENCODER + "input_linear.weight"]
    encoder.input_linear.weight.zero_()
    encoder.input_linear.weight[:, :MEL] = weight[:, :MEL]
    encoder.input_linear.weight[:, 2 * MEL : 3 * MEL] = weight[:, MEL:]
    encoder.input_linear.bias.copy_(state[ENCODER + "input_linear.bias"])
    encoder.out_mid.weight.zero_()
    rate = 1
    for layer, index in zip(encoder.layers, spread(layers_of(state), len(encoder.layers)), strict=True):
        old = {
            name.removeprefix(prefix): tensor
            for name, tensor in state.items()
            if name.startswith(prefix := f"{ENCODER}layers.{index}.")
        }
        rate_out = min(2 * rate, SUBSAMPLING)
        layer.load_state_dict(_renamed(old, rate, rate_out))
        rate = rate_out


def _renamed(old: dict[str, Tensor], rate: int, rate_out: int) -> dict[str, Tensor]:
    """The state of one block under the names of the 5.0 modules."""
    new = {}
    for one, other, norm in (
        ("ff1", "feed_forward1", "norm_feed_forward1"),
        ("ff2", "feed_forward2", "norm_feed_forward2"),
    ):
        for part in ("weight", "bias"):
            new[f"{norm}.{part}"] = old[f"{one}.pre_norm.{part}"]
            new[f"{other}.linear1.{part}"] = old[f"{one}.up_proj.{part}"]
            new[f"{other}.linear2.{part}"] = old[f"{one}.down_proj.{part}"]
    key, value = old["attn.to_kv.weight"].chunk(2)
    new["self_attn.q_proj.weight"] = old["attn.to_q.weight"]
    new["self_attn.k_proj.weight"], new["self_attn.v_proj.weight"] = key, value
    new["self_attn.rel_pos_emb.weight"] = wider_positions(old["attn.rel_pos_emb.weight"], rate)
    for part in ("weight", "bias"):
        new[f"norm_self_att.{part}"] = old[f"attn.pre_norm.{part}"]
        new[f"self_attn.o_proj.{part}"] = old[f"attn.to_out.{part}"]
        new[f"norm_conv.{part}"] = old[f"conv.norm.{part}"]
        new[f"conv.pointwise_lin1.{part}"] = _linear(old[f"conv.up_conv.{part}"])
        new[f"conv.pointwise_lin2.{part}"] = _linear(old[f"conv.down_conv.{part}"])
        new[f"norm_out.{part}"] = old[f"post_norm.{part}"]
    for part in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
        new[f"conv.norm.{part}"] = old[f"conv.batch_norm.{part}"]
    new["conv.depthwise_conv.weight"] = wider_taps(old["conv.depth_conv.conv.weight"], rate, rate_out)
    return new


def _linear(tensor: Tensor) -> Tensor:
    """Weight or bias of a linear layer, of those of a convolution over single frames."""
    return tensor.squeeze(-1) if tensor.ndim == 3 else tensor
