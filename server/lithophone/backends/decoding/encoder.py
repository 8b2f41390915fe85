"""Granite's conformer encoder over clips of any lengths, each computed as if it were alone.

Owns the packed forward pass of the encoder and its CTC head. transformers' own encoder has no padding mask, so a clip's
hidden states there depend on its neighbours; here the frames of all clips stand one behind the other, matrices never
multiply padding, attention sees blocks of one clip only, and the convolution sees zeros beyond each clip's end.

Same weights and arithmetic as `transformers.models.granite_speech.modeling_granite_speech` (and the plus sibling),
differently arranged: 1x1 convolutions are linear layers, BatchNorm is folded into the depthwise convolution, and the
relative position term (Shaw et al. 2018) is one matrix product with a skewed view as the bias of fused attention.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lithophone.backends.decoding.growing import Beginning, Seam, Seams
from lithophone.granite.packing import PackedRows, places_of, sent, starts_of

ALIGNED_COLUMNS: Final = 16

FEWEST_ROWS: Final = 16
SIZES_PER_DOUBLING: Final = 16
"""Of the rows that a convolution is given. oneDNN prepares one for each number of rows, and keeps some: where every pass had
another, preparing them left holes in memory that grew for hours."""


class PackedClips:
    """Where the frames of each clip are: in the packed row, in attention's blocks, and between the convolution's gaps.

    Args:
        lengths: Frames of each clip.
        context: Frames of an attention block.
        gap: Zeros the convolution needs beside a clip.
        device: Where the indexes are used; they get there in one copy.

    Attributes:
        block_places: int64 [2, blocks]: the first frame of each block in the packed row, and its frames.
        gapped_index: int64 [frames]: the place of each frame among clips that are `gap` apart.
        gapped_frames: Rows of all of that, with zeros behind the last clip; see `of_few_sizes`.
    """

    def __init__(self, lengths: Sequence[int], context: int, gap: int, device: torch.device) -> None:
        self.lengths = tuple(lengths)
        self.frames = sum(lengths)
        sizes = np.array(
            [min(context, length - at) for length in lengths for at in range(0, length, context)]
        )
        self.blocks, self.block_frames = len(sizes), int(sizes.max())
        self.gapped_frames = of_few_sizes(self.frames + gap * (len(lengths) + 1))
        within = np.arange(self.block_frames)
        block_index = starts_of(sizes)[:, None] + np.minimum(within, sizes[:, None] - 1)
        unblocked = places_of(np.arange(self.blocks) * self.block_frames, sizes)
        gapped = np.arange(self.frames) + gap * np.repeat(np.arange(1, len(lengths) + 1), lengths)
        places = np.stack([starts_of(sizes), sizes])
        self._block_index, self._unblocked, self.block_places, self.gapped_index = sent(
            device, block_index, unblocked, places, gapped
        )
        self._whole = int(sizes.min()) == self.block_frames
        self.block_padding: Tensor | None = None
        if not self._whole:
            self.block_padding = torch.arange(self.block_frames, device=device) >= self.block_places[
                1
            ].unsqueeze(1)

    def to_blocks(self, packed: Tensor) -> Tensor:
        """[frames, features] to [blocks, block_frames, features]; short blocks repeat their last frame."""
        if self._whole:
            return packed.view(self.blocks, self.block_frames, -1)
        return packed[self._block_index]

    def from_blocks(self, blocks: Tensor) -> Tensor:
        """Back to [frames, features]."""
        flat = blocks.flatten(0, 1)
        return flat if self._whole else flat[self._unblocked]


def of_few_sizes(rows: int) -> int:
    """As many rows or up to a sixteenth more, so that there are few numbers of them; never fewer than `FEWEST_ROWS`."""
    step = max(FEWEST_ROWS, (1 << (rows.bit_length() - 1)) // SIZES_PER_DOUBLING)
    return -(-rows // step) * step


class FrameCounts(msgspec.Struct, frozen=True):
    """Frames an encoder has taken in, and those that filled up attention's blocks beside them."""

    frames: int = 0
    padded: int = 0

    def plus(self, frames: int, padded: int) -> FrameCounts:
        """So many more."""
        return FrameCounts(self.frames + frames, self.padded + padded)


EncoderLayer: TypeAlias = Callable[[Tensor, PackedClips, Seam | None], Tensor]
"""[frames, hidden] in and out; see `ConformerLayer`."""


class LayersInForm(NamedTuple):
    """The layers of an encoder, made anew for each pass if need be, and the dtype they compute in.

    `go_on` says whether they can go on from what was kept of a clip.
    """

    layers: Iterable[EncoderLayer]
    dtype: torch.dtype
    go_on: bool = True


class PackedEncoder:
    """The encoder of a loaded Granite Speech model; shares its weights.

    Args:
        encoder: `model.model.encoder` of a 3.x, 4.x or plus model, in eval mode.
        layers: Its layers in another form, and the dtype they compute in; without them its own.

    Attributes:
        counts: What has gone through it.
        goes_on: Clips that grow need not be heard from their beginning.
    """

    def __init__(self, encoder: Any, layers: LayersInForm | None = None) -> None:
        self._encoder = encoder
        config = encoder.config
        self._context = int(config.context_size)
        self._exported = frozenset(getattr(config, "cat_hidden_layers", None) or ())
        self._middle = int(encoder.num_layers) // 2
        self._layers, self._dtype, self.goes_on = layers or LayersInForm(
            [ConformerLayer(layer) for layer in encoder.layers],
            encoder.input_linear.weight.dtype,
        )
        self._gap = int(config.conv_kernel_size) // 2
        self.counts = FrameCounts()

    def encode(self, features: PackedRows) -> PackedRows:
        """Last hidden states of all clips.

        Args:
            features: [frames, 160], at least one frame a clip.

        Returns:
            [frames, hidden]; of the plus model [frames, exported layers * hidden + hidden]. In the dtype of the layers.
        """
        clips = self._packed(features.lengths, self._gap)
        return PackedRows(self._forward(features.rows, clips, None), features.lengths)

    def encode_growing(
        self, features: PackedRows, before: Sequence[Beginning | None]
    ) -> tuple[PackedRows, list[Beginning | None]]:
        """Last hidden states of whole clips, and what is to be kept of them.

        Args:
            features: [frames, 160] of whole clips, at least one frame more of each than is kept of it.
            before: What was kept of each clip; None for one that does not grow.
        """
        seams = Seams(before, features.lengths, self._context, self._gap, self._device)
        clips = self._packed(seams.lengths, seams.gap)
        whole = seams.whole(self._forward(seams.new_rows(features), clips, seams))
        return whole, seams.beginnings(whole)

    @property
    def _device(self) -> torch.device:
        return self._encoder.input_linear.weight.device

    def _packed(self, lengths: Sequence[int], gap: int) -> PackedClips:
        clips = PackedClips(lengths, self._context, gap, self._device)
        self.counts = self.counts.plus(clips.frames, clips.blocks * clips.block_frames - clips.frames)
        return clips

    def ctc_log_probs(self, hidden: Tensor) -> Tensor:
        """Natural-log probabilities of the grapheme labels, float32 [frames, labels], of hidden states."""
        return head_log_probs(self._encoder.out, hidden)

    def _forward(self, features: Tensor, clips: PackedClips, seams: Seams | None) -> Tensor:
        hidden = _applied(self._encoder.input_linear, features.to(self._device, self._dtype))
        exported = [hidden] if 0 in self._exported else []
        for number, layer in enumerate(self._layers, start=1):
            hidden = layer(hidden, clips, None if seams is None else seams.next_layer())
            if number in self._exported:
                exported.append(hidden)
            if number == self._middle:
                hidden = self._fed_back(hidden)
                if (
                    number in self._exported
                ):  # transformers adds in place: what it exports here has the feedback too
                    exported[-1] = hidden
        return torch.cat([*exported, hidden], dim=-1) if exported else hidden

    def _fed_back(self, hidden: Tensor) -> Tensor:
        """The CTC head's opinion half-way, added to what it was made of."""
        opinion = functional.softmax(_applied(self._encoder.out, hidden), dim=-1)
        return hidden + _applied(self._encoder.out_mid, opinion)


class ClipwiseEncoder:
    """transformers' own encoder, one clip after another: for a model whose layers accelerate has spread or offloaded.

    Slower than `PackedEncoder`, and exact as well: without a neighbour there is nothing to mask.
    """

    def __init__(self, encoder: Any, device: torch.device) -> None:
        self._encoder = encoder
        self._device = device
        self._context = int(encoder.config.context_size)
        self.counts = FrameCounts()

    def encode(self, features: PackedRows) -> PackedRows:
        """Last hidden states of all clips; see `PackedEncoder.encode`."""
        for length in features.lengths:
            self.counts = self.counts.plus(length, -length % self._context)
        clips = features._replace(rows=features.rows.to(self._device, self._encoder.dtype)).split()
        hidden = [self._encoder(clip.unsqueeze(0)).last_hidden_state[0] for clip in clips]
        return PackedRows(torch.cat(hidden), features.lengths)

    def ctc_log_probs(self, hidden: Tensor) -> Tensor:
        """Of the grapheme labels; see `PackedEncoder.ctc_log_probs`."""
        return head_log_probs(self._encoder.out, hidden)


def head_log_probs(head: Any, hidden: Tensor) -> Tensor:
    """Natural-log probabilities of a CTC head's labels, float32 [frames, labels].

    The head reads the last layer, which the plus model keeps behind the earlier ones.
    """
    return torch.log_softmax(_applied(head, hidden[..., -head.in_features :]).float(), dim=-1)


def _applied(linear: Any, hidden: Tensor) -> Tensor:
    """A small linear layer, in the dtype of what goes in."""
    if linear.weight.dtype == hidden.dtype:
        return linear(hidden)  # whole: accelerate may have to fetch its weights
    bias = None if linear.bias is None else linear.bias.to(hidden.dtype)
    return functional.linear(hidden, linear.weight.to(hidden.dtype), bias)


class ConformerLayer:
    """One conformer block (Gulati et al. 2020) over packed frames, in the plain operations of torch.

    Args:
        layer: Of transformers' encoder.
    """

    def __init__(self, layer: Any) -> None:
        self._first, self._second, self._norm = layer.ff1, layer.ff2, layer.post_norm
        self._attention, self._convolution = BlockAttention(layer.attn), Convolution(layer.conv)

    def __call__(self, hidden: Tensor, clips: PackedClips, seam: Seam | None) -> Tensor:
        """[frames, hidden] in and out; `seam` is where clips go on from what was kept of them."""
        hidden = torch.add(hidden, self._first(hidden), alpha=0.5)
        hidden = self._attention(hidden, clips) + hidden
        hidden = self._convolution(hidden, clips, seam) + hidden
        hidden = torch.add(hidden, self._second(hidden), alpha=0.5)
        return self._norm(hidden)


class BlockAttention:
    """Self-attention inside blocks, with relative positions as a bias.

    Args:
        attention: Of transformers' layer.
    """

    def __init__(self, attention: Any) -> None:
        self._module = attention
        self._heads = int(attention.num_heads)
        self._scale = float(attention.scale)

    def __call__(self, hidden: Tensor, clips: PackedClips) -> Tensor:
        """[frames, hidden] in and out."""
        normed = self._module.pre_norm(hidden)
        return self._module.to_out(
            self._attended(self._module.to_q(normed), self._module.to_kv(normed), clips)
        )

    def _attended(self, queries: Tensor, keys_and_values: Tensor, clips: PackedClips) -> Tensor:
        """[frames, heads * width] of queries of that shape, and keys before values of twice the width."""
        queries = self._by_head(clips.to_blocks(queries))
        keys, values = (self._by_head(part) for part in clips.to_blocks(keys_and_values).chunk(2, dim=-1))
        bias = self._position_bias(queries)
        if clips.block_padding is not None:
            bias = bias.masked_fill(clips.block_padding[:, None, None, :], float("-inf"))
        attended = functional.scaled_dot_product_attention(
            queries, keys, values, attn_mask=_aligned(bias), scale=self._scale
        )
        return clips.from_blocks(attended.transpose(1, 2).flatten(2))

    def _by_head(self, blocks: Tensor) -> Tensor:
        return blocks.unflatten(-1, (self._heads, -1)).transpose(1, 2)

    def _position_bias(self, queries: Tensor) -> Tensor:
        """[blocks, heads, n, n]: query i times the embedding of its distance i - j to key j, scaled.

        One product with the embeddings of all 2n - 1 distances, from n - 1 down to 1 - n; row i of the answer starts
        n - 1 - i places in, which a view with a shorter row stride does without a copy.
        """
        n = queries.shape[-2]
        middle = self._module.max_pos_emb
        table = self._module.rel_pos_emb.weight[middle - n + 1 : middle + n].flip(0)
        product = torch.matmul(queries * self._scale, table.t()).contiguous()
        blocks, heads = queries.shape[:2]
        row = 2 * n - 1
        return product.as_strided(
            (blocks, heads, n, n), (heads * n * row, n * row, row - 1, 1), product.storage_offset() + n - 1
        )


def _aligned(bias: Tensor) -> Tensor:
    """The same numbers, on GPUs in rows of whole 32 bytes and from the beginning of their memory.

    Attention in 16 bits reads a bias so; torch (2.11) copies one whose strides do not fit but does not look where a view
    begins, which ends in a misaligned address. On CPUs any view will do.
    """
    if bias.device.type == "cpu":
        return bias
    columns = bias.shape[-1]
    whole = bias.new_empty(*bias.shape[:-1], -(-columns // ALIGNED_COLUMNS) * ALIGNED_COLUMNS)
    return whole[..., :columns].copy_(bias)


class Convolution:
    """Gated depthwise convolution; BatchNorm is folded into its weights.

    Args:
        module: Of transformers' layer.
    """

    def __init__(self, module: Any) -> None:
        self._norm = module.norm
        self._up = as_linear(module.up_conv)
        self._down = as_linear(module.down_conv)
        self._weight, self._bias = folded(module.depth_conv.conv, module.batch_norm)
        self._left = self._weight.shape[-1] // 2

    def __call__(self, hidden: Tensor, clips: PackedClips, seam: Seam | None) -> Tensor:
        """[frames, hidden] in and out."""
        gated = functional.glu(self._up(self._norm(hidden)), dim=-1)
        return self._down(self._filtered(gated, clips, seam))

    def _filtered(self, gated: Tensor, clips: PackedClips, seam: Seam | None) -> Tensor:
        """SiLU of the convolution over [frames, channels]."""
        gapped = gated.new_zeros(clips.gapped_frames, gated.shape[-1])
        gapped[clips.gapped_index] = gated
        if seam is not None:
            seam.fill(gapped)
            seam.keep(gated)
        filtered = functional.conv1d(
            gapped.t().unsqueeze(0), self._weight, self._bias, groups=len(self._weight)
        )
        # without padding, what is centred on gapped frame i comes out at i - left
        return functional.silu(filtered[0].t()[clips.gapped_index - self._left])


def as_linear(layer: nn.Module) -> Callable[[Tensor], Tensor]:
    """A convolution with kernel 1 over [..., in]; one that was made a linear layer, as it is."""
    if not isinstance(layer, nn.Conv1d):
        return layer
    weight, bias = layer.weight.squeeze(-1), layer.bias
    return lambda rows: functional.linear(rows, weight, bias)


def folded(convolution: nn.Conv1d, norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Weight and bias of convolution and BatchNorm in one, computed in float32, or wider if they are.

    Raises:
        ValueError: the norm keeps no running statistics.
    """
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("BatchNorm without running statistics cannot be folded")
    wide = torch.promote_types(convolution.weight.dtype, torch.float32)
    scale = norm.weight.to(wide) / torch.sqrt(norm.running_var.to(wide) + norm.eps)
    weight = convolution.weight.to(wide) * scale.view(-1, 1, 1)
    bias = norm.bias.to(wide) - norm.running_mean.to(wide) * scale
    return weight.to(convolution.weight.dtype), bias.to(convolution.weight.dtype)


def project(projector: Any, hidden: PackedRows) -> PackedRows:
    """Audio embeddings of all clips [queries, text hidden] from their hidden states [frames, hidden].

    The projector (`GraniteSpeechEncoderProjector`) looks at windows of 15 frames one by one, so clips only need to be
    filled up with zeros to whole windows to go through it together.
    """
    size = int(projector.window_size)
    lengths = np.array(hidden.lengths)
    windows = -(-lengths // size)
    (places,) = sent(hidden.rows.device, places_of(starts_of(windows) * size, lengths))
    filled = hidden.rows.new_zeros(int(windows.sum()) * size, hidden.rows.shape[-1])
    filled[places] = hidden.rows
    queries = projector(filled.unsqueeze(0).to(projector.query.dtype))[0]
    return PackedRows(queries, tuple((windows * int(projector.num_queries)).tolist()))
