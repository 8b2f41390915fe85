"""What a model of the family has to compute and to read, from its shape alone.

Pure: arithmetic over a configuration's numbers, no torch and no clock. A multiply-add counts as two operations. Only
matrix products and convolutions count; norms, activations and softmax are left out, as is usual, so the shares of a
machine's peak that follow from these figures are a little low.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

MULTIPLY_ADD = 2


class EncoderFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The conformer and its CTC head."""

    layers: int
    hidden: int
    inner: int
    context: int
    kernel: int
    expansion: int
    feedforward: int
    inputs: int
    labels: int

    @property
    def weights_per_frame(self) -> int:
        """Weights each frame is multiplied with once, attention's scores aside."""
        layer = (
            2 * 2 * self.hidden * self.hidden * self.feedforward
            + 4 * self.hidden * self.inner
            + 3 * self.hidden * self.hidden * self.expansion
            + self.hidden * self.expansion * self.kernel
        )
        heads = 3 * self.hidden * self.labels  # half-way, its way back, and at the end
        return self.layers * layer + self.inputs * self.hidden + heads

    def flops(self, frames: int) -> int:
        """For one clip. Attention: scores, their position term, and values, inside blocks of `context` frames."""
        whole, rest = divmod(frames, self.context)
        pairs = whole * self.context**2 + rest**2
        scores = self.layers * 3 * pairs * self.inner
        return MULTIPLY_ADD * (frames * self.weights_per_frame + scores)


class ProjectorFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The window-level Q-Former between encoder and language model."""

    layers: int
    hidden: int
    encoder_hidden: int
    feedforward: int
    window: int
    queries: int
    output: int

    def flops(self, frames: int) -> int:
        """For one clip."""
        cross = 2 * self.window * self.encoder_hidden * self.hidden + 2 * self.queries * self.hidden**2
        attended = 2 * self.queries * (self.queries + self.window) * self.hidden
        rest = self.queries * (4 * self.hidden**2 + 2 * self.hidden * self.feedforward)
        window = self.layers * (cross + attended + rest) + self.queries * self.hidden * self.output
        return MULTIPLY_ADD * math.ceil(frames / self.window) * window


class TextFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The language model and its head."""

    layers: int
    hidden: int
    heads: int
    key_heads: int
    head_width: int
    feedforward: int
    vocabulary: int

    @property
    def layer_weights(self) -> int:
        """Of the matrices of one layer."""
        attention = 2 * self.hidden * self.head_width * (self.heads + self.key_heads)
        return attention + 3 * self.hidden * self.feedforward

    @property
    def weights_per_pass(self) -> int:
        """Weights a pass reads once, however many tokens it takes in."""
        return self.layers * self.layer_weights + self.hidden * self.vocabulary

    def flops(self, new: int, cached: int, answers: int) -> int:
        """Of one pass of one sequence.

        Args:
            new: Tokens it takes in.
            cached: Tokens before them.
            answers: For how many of them the head is asked.
        """
        pairs = new * cached + new * (new + 1) // 2
        attention = self.layers * 2 * pairs * self.heads * self.head_width
        matrices = new * self.layers * self.layer_weights + answers * self.hidden * self.vocabulary
        return MULTIPLY_ADD * (matrices + attention)

    def bytes_per_pass(self, item_bytes: float, positions: int) -> int:
        """What a pass has to read: every weight once, and the keys and values of so many positions.

        Args:
            item_bytes: Of a weight and of a cached number.
            positions: In the cache, of all sequences together.
        """
        cached = 2 * self.layers * self.key_heads * self.head_width * positions
        return round(item_bytes * (self.weights_per_pass + cached))


class ModelFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A whole model of the 3.x and 4.x kind."""

    encoder: EncoderFigures
    projector: ProjectorFigures
    text: TextFigures

    def hearing_flops(self, frames: int) -> int:
        """Encoder, CTC head and projector over one clip."""
        return self.encoder.flops(frames) + self.projector.flops(frames)


def read_figures(config: Any) -> ModelFigures:
    """The figures of a `GraniteSpeechConfig` or its plus sibling."""
    encoder, projector, text = config.encoder_config, config.projector_config, config.text_config
    return ModelFigures(
        encoder=EncoderFigures(
            layers=encoder.num_layers,
            hidden=encoder.hidden_dim,
            inner=encoder.num_heads * encoder.dim_head,
            context=encoder.context_size,
            kernel=encoder.conv_kernel_size,
            expansion=encoder.conv_expansion_factor,
            feedforward=encoder.feedforward_mult,
            inputs=encoder.input_dim,
            labels=encoder.output_dim,
        ),
        projector=ProjectorFigures(
            layers=projector.num_hidden_layers,
            hidden=projector.hidden_size,
            encoder_hidden=projector.encoder_hidden_size,
            feedforward=projector.intermediate_size,
            window=config.window_size,
            queries=config.window_size // config.downsample_rate,
            output=text.hidden_size,
        ),
        text=TextFigures(
            layers=text.num_hidden_layers,
            hidden=text.hidden_size,
            heads=text.num_attention_heads,
            key_heads=text.num_key_value_heads,
            head_width=getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads,
            feedforward=text.intermediate_size,
            vocabulary=text.vocab_size,
        ),
    )
