"""Granite's language model as a GPU likes it: six to ten kernels a layer, over pages of keys and values.

Same weights and arithmetic as `transformers.models.granite.modeling_granite`, differently arranged: the projections of
queries, keys and values are one product, so are gate and up, and the residual is added by the product before it. The weights
are taken over, not copied: transformers' own layers go on with views of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lithophone.backends.gpu.kernels import Heads, Kernels, Layer, Pages, Where
from lithophone.backends.gpu.pages import PAGE_POSITIONS
from lithophone.backends.gpu.prompts import Begun, prompt_attention


def can_take_over(language_model: Any) -> str | None:
    """Why `PagedDecoder` cannot compute a transformers language model; None if it can."""
    config = language_model.config
    width = language_model.layers[0].self_attn.head_dim
    if config.model_type != "granite":
        return f"its architecture is {config.model_type}"
    if config.attention_bias or config.mlp_bias:
        return "its layers have biases"
    if config.hidden_act != "silu":
        return f"its activation is {config.hidden_act}"
    if width % 2:
        return f"its heads are {width} wide"
    if not all(isinstance(layer.mlp.up_proj, nn.Linear) for layer in language_model.layers):
        return "its layers are quantised"
    return None


class PagedDecoder:
    """The layers of a language model.

    Args:
        language_model: transformers' `GraniteModel`, for which `can_take_over` finds nothing.
        kernels: See there.
        pages: In the pool of keys and values, which is allocated here: zeros, since a masked NaN would still be a NaN.
        positions: The most of a sequence.
    """

    def __init__(self, language_model: Any, kernels: Kernels, pages: int, positions: int) -> None:
        config = language_model.config
        self._kernels = kernels
        self._model = language_model
        self._epsilon = float(config.rms_norm_eps)
        self._residual = float(config.residual_multiplier)
        self._embedding = float(config.embedding_multiplier)
        attention = language_model.layers[0].self_attn
        self._heads = Heads(
            int(config.num_attention_heads),
            int(config.num_key_value_heads),
            int(attention.head_dim),
            float(attention.scaling),
        )
        self._layers = [_taken_over(layer) for layer in language_model.layers]
        self._pool = self._allocate(pages)
        self._attend_begun = prompt_attention(self._heads, self.dtype, self.device)
        self.rotation = _rotation(language_model.rotary_emb, positions, self.device)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self._layers[0].project.device

    @property
    def dtype(self) -> torch.dtype:
        """Of weights, keys and values."""
        return self._layers[0].project.dtype

    @property
    def depth(self) -> int:
        """Layers."""
        return len(self._layers)

    @property
    def pool_bytes(self) -> int:
        """Memory of keys and values."""
        return sum(part.nbytes for pages in self._pool for part in pages)

    def tune(self) -> None:
        """See `Kernels`."""
        self._kernels.tune(self._layers)

    def begin_one_by_one(self) -> bool:
        """See `Kernels`."""
        return self._kernels.begin_one_by_one()

    def embed(self, tokens: Tensor) -> Tensor:
        """[tokens, hidden] of token ids [tokens]; before the embedding multiplier, as prompts hold them."""
        return self._model.embed_tokens(tokens)

    def forward(self, embeddings: Tensor, where: Where, begun: Begun | None = None) -> Tensor:
        """Normed last hidden states [tokens, hidden]; keys and values go to the pages.

        Args:
            embeddings: [tokens, hidden]; sequences that begin stand behind those that go on.
            where: Of each token.
            begun: Those that begin.
        """
        kernels = self._kernels
        hidden = embeddings * self._embedding
        for layer, pages in zip(self._layers, self._pool, strict=True):
            projected = kernels.normed_product(hidden, layer.first_norm, self._epsilon, layer.project)
            kernels.rotate_and_store(projected, where, pages, self._heads)
            attended = self._attend(projected, where, pages, begun)
            kernels.add_product(hidden, attended, layer.combine, self._residual)
            gated = kernels.normed_gated_product(hidden, layer.second_norm, self._epsilon, layer.gate_and_up)
            kernels.add_product(hidden, gated, layer.down, self._residual)
        return kernels.rms_norm(hidden, self._model.norm.weight, self._epsilon)

    def _attend(self, projected: Tensor, where: Where, pages: Pages, begun: Begun | None) -> Tensor:
        """Those that go on from their pages; a prompt over itself alone."""
        if begun is None:
            return self._kernels.attend(projected, where, pages, self._heads)
        going_on = len(projected) - sum(begun.lengths)
        attended = self._attend_begun(projected[going_on:], begun)
        if not going_on:
            return attended
        some = where._replace(slots=where.slots[:going_on], positions=where.positions[:going_on])
        return torch.cat((self._kernels.attend(projected[:going_on], some, pages, self._heads), attended))

    def _allocate(self, pages: int) -> list[Pages]:
        shape = (pages, PAGE_POSITIONS, self._heads.keys, self._heads.width)
        return [
            Pages(*(torch.zeros(shape, dtype=self.dtype, device=self.device) for _ in Pages._fields))
            for _ in self._layers
        ]


def position_bytes(language_model: Any) -> int:
    """Memory of the keys and values of one position."""
    config = language_model.config
    width = int(language_model.layers[0].self_attn.head_dim)
    item_bytes = language_model.dtype.itemsize
    return 2 * int(config.num_hidden_layers) * int(config.num_key_value_heads) * width * item_bytes


def _taken_over(layer: Any) -> Layer:
    attention, mlp = layer.self_attn, layer.mlp
    return Layer(
        first_norm=layer.input_layernorm.weight,
        project=_joined([attention.q_proj, attention.k_proj, attention.v_proj]),
        combine=attention.o_proj.weight,
        second_norm=layer.post_attention_layernorm.weight,
        gate_and_up=_joined([mlp.gate_proj, mlp.up_proj]),
        down=mlp.down_proj.weight,
    )


def _joined(linears: Sequence[nn.Linear]) -> Tensor:
    """Their weights one under the other; each linear layer keeps a view, so that nothing is held twice."""
    joined = torch.cat([linear.weight.data for linear in linears])
    for linear, part in zip(linears, joined.split([linear.out_features for linear in linears]), strict=True):
        linear.weight.data = part
    return joined


def _rotation(rotary: Any, positions: int, device: torch.device) -> Tensor:
    """Float32 [positions, width]: cosines of half the width, then sines; transformers repeats each half."""
    everywhere = torch.arange(positions, device=device).unsqueeze(0)
    cosine, sine = rotary(torch.zeros((), dtype=torch.float32, device=device), everywhere)
    half = cosine.shape[-1] // 2
    return torch.cat((cosine[0, :, :half], sine[0, :, :half]), dim=-1).contiguous()
