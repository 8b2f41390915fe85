"""One pass of Granite's language model over the new tokens of many sequences at once.

The reference, and the way on CPUs and where several devices share the layers.

Owns the packed pass: the tokens of all sequences stand one behind the other in a single row, so that no matrix ever
multiplies padding; only attention knows where one sequence ends. The layers are transformers' own
(`modeling_granite.py`); attention comes in through transformers' attention interface. Decides nothing about what is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate, count
from typing import Any

import msgspec
import torch
from torch import Tensor
from torch.nn import functional
from transformers import AttentionInterface

from lithophone.backends.cpu.products import (
    Switch,
    SwitchedLinear,
    can_switch,
    other_way_is_faster,
    rows_switched,
    switch_linears,
)
from lithophone.backends.decoding.cache import KeyValueCache
from lithophone.backends.decoding.passes import Embeddings, Part, Verdicts
from lithophone.backends.decoding.verdicts import Exceptions, judge, read

ATTENTION = "lithophone_packed"


class Span(msgspec.Struct, frozen=True):
    """New tokens of one sequence: how many there are, and how many it already has in the cache."""

    new: int
    cached: int


class PackedPass:
    """Where the tokens of a pass belong: sequence i is row i of the cache.

    Sequences with something in the cache come first, those that begin with their prompt behind them.
    """

    def __init__(
        self, spans: Sequence[Span], cache: KeyValueCache, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.cache = cache
        self.running = sum(span.cached > 0 for span in spans)
        if any(span.cached > 0 for span in spans[self.running :]):
            raise ValueError("sequences that go on must come before sequences that begin")
        going_on = spans[: self.running]
        self.prompts = [span.new for span in spans[self.running :]]
        self.running_tokens = sum(span.new for span in going_on)
        self.longest = max((span.cached + span.new for span in going_on), default=0)
        self.rows = torch.repeat_interleave(
            torch.arange(len(spans)), torch.tensor([span.new for span in spans])
        ).to(device)
        self.positions = torch.cat([torch.arange(span.cached, span.cached + span.new) for span in spans]).to(
            device
        )
        self.queries, self.mask = _ragged(going_on, self.longest, device, dtype)
        self.steps = torch.cat([torch.arange(span.new) for span in spans])[: self.running_tokens].to(device)


def _ragged(
    spans: Sequence[Span], longest: int, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor | None, Tensor | None]:
    """For sequences that go on, which packed token is query [sequence, i], and what it may see.

    A sequence with fewer new tokens than another repeats its last one; the repetition is not read. A single token of a
    single sequence may see everything and needs no mask.
    """
    if not spans or (len(spans) == 1 and spans[0].new == 1):
        return None, None
    new = torch.tensor([span.new for span in spans]).unsqueeze(1)
    cached = torch.tensor([span.cached for span in spans]).unsqueeze(1)
    step = torch.minimum(torch.arange(int(new.max())).unsqueeze(0), new - 1)
    queries = new.cumsum(0) - new + step
    visible = torch.arange(longest) <= (cached + step).unsqueeze(-1)
    mask = torch.zeros(visible.shape, dtype=dtype).masked_fill(~visible, float("-inf"))
    return queries.to(device), mask.unsqueeze(1).to(device)


def packed_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,  # noqa: ARG001 - transformers' signature; the pass has its own
    *,
    scaling: float,
    packed: PackedPass,
    **_: Any,
) -> tuple[Tensor, None]:
    """Transformers' attention interface over a packed row: query [1, heads, tokens, head_dim], as are key and value.

    Returns [1, tokens, heads, head_dim].
    """
    queries, keys, values = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    device = queries.device  # with several GPUs, the layer's
    packed.cache.write(module.layer_idx, packed.rows.to(device), packed.positions.to(device), keys, values)
    parts: list[Tensor] = []
    if packed.running:
        parts.append(_attend_cached(module.layer_idx, queries[: packed.running_tokens], packed, scaling))
    start = packed.running_tokens
    for length in packed.prompts:
        part = slice(start, start + length)
        parts.append(_attend_prompt(queries[part], keys[part], values[part], scaling))
        start += length
    return (parts[0] if len(parts) == 1 else torch.cat(parts)).unsqueeze(0), None


def _attend_prompt(queries: Tensor, keys: Tensor, values: Tensor, scaling: float) -> Tensor:
    """A sequence that begins, over itself alone; [tokens, heads, head_dim] in and out."""
    attended = functional.scaled_dot_product_attention(
        queries.transpose(0, 1).unsqueeze(0),
        keys.transpose(0, 1).unsqueeze(0),
        values.transpose(0, 1).unsqueeze(0),
        is_causal=True,
        scale=scaling,
        enable_gqa=queries.shape[1] != keys.shape[1],
    )
    return attended[0].transpose(0, 1)


def _attend_cached(layer: int, queries: Tensor, packed: PackedPass, scaling: float) -> Tensor:
    """All sequences that go on, over their rows of the cache; [tokens, heads, head_dim] in and out.

    The query heads that share a key head stand behind each other as if they were more queries: keys are read once.
    """
    keys, values = packed.cache.read(layer, packed.running, packed.longest)
    index = None if packed.queries is None else packed.queries.to(queries.device)
    padded = queries.unsqueeze(0) if index is None else queries[index]  # [sequences, steps, heads, head_dim]
    sequences, steps, heads, width = padded.shape
    shared = heads // keys.shape[1]
    grouped = padded.view(sequences, steps, keys.shape[1], shared, width).permute(0, 2, 3, 1, 4)
    mask = None if packed.mask is None else packed.mask.to(queries.device).repeat(1, 1, shared, 1)
    attended = functional.scaled_dot_product_attention(
        grouped.reshape(sequences, keys.shape[1], shared * steps, width),
        keys,
        values,
        attn_mask=mask,
        scale=scaling,
    )
    spread = attended.view(sequences, keys.shape[1], shared, steps, width).permute(0, 3, 1, 2, 4)
    flat = spread.reshape(sequences, steps, heads, width)
    if sequences * steps == packed.running_tokens:
        return flat.flatten(0, 1)
    return flat[packed.rows[: packed.running_tokens].to(flat.device), packed.steps.to(flat.device)]


AttentionInterface.register(ATTENTION, packed_attention)


@contextmanager
def transformers_attention(model: Any) -> Iterator[None]:
    """Let transformers itself run a model that `LanguageModel` has taken over, with its own fused attention."""
    config = model.model.language_model.config
    before = config._attn_implementation  # noqa: SLF001 - where transformers' layers look it up
    config._attn_implementation = "sdpa"  # noqa: SLF001 - see above
    try:
        yield
    finally:
        config._attn_implementation = before  # noqa: SLF001 - see above


class PackedLanguageModel:
    """The language model of a Granite Speech model, with its head, computed by transformers' own layers.

    Attributes:
        products: How matrix products are computed.
        device: Where a pass begins. The weights cannot tell where accelerate has offloaded them.

    Args:
        model: A `GraniteSpeechForConditionalGeneration` or its plus sibling. Its language model is switched to packed
            attention: from then on only this class can run it (but see `transformers_attention`).
        device: See above.
    """

    def __init__(self, model: Any, device: torch.device) -> None:
        self.device = device
        self._model = model.model.language_model
        self.products = Switch(rows_switched(self._model.dtype))
        self._can_switch = switch_linears(self._model, self.products) > 0
        self._head = _switched_head(model, self.products)
        config = self._model.config
        config._attn_implementation = ATTENTION  # noqa: SLF001 - where transformers' layers look it up
        self._scaling = float(config.logits_scaling)
        self.layers = int(config.num_hidden_layers)
        self._max_positions = int(config.max_position_embeddings)

    @property
    def max_positions(self) -> int:
        """See `LanguageModel`."""
        return self._max_positions

    @property
    def dtype(self) -> torch.dtype:
        """Of embeddings and activations."""
        return self._model.dtype

    def prepare(self) -> None:
        """Put the clock on the matrix products, where there are two ways to compute them."""
        self.products.wanted = self._can_switch and other_way_is_faster(self._model)

    def start(self, end_tokens: frozenset[int], *, settle_ties: bool) -> PackedPasses:
        """See `LanguageModel`."""
        return PackedPasses(self, end_tokens, settle_ties=settle_ties and self.dtype == torch.float32)

    def prompt(self, before: Sequence[int], audio: Embeddings, after: Sequence[int]) -> Tensor:
        """See `LanguageModel`; [positions, hidden], before the model's embedding multiplier."""
        text = self.embed([*before, *after])
        heard = as_tensor(audio).to(text.device, text.dtype)
        return torch.cat([text[: len(before)], heard, text[len(before) :]])

    def embed(self, tokens: Sequence[int]) -> Tensor:
        """Token embeddings [tokens, hidden], before the model's embedding multiplier."""
        return self._model.embed_tokens(torch.tensor(tokens, dtype=torch.long, device=self.device))

    def run(self, embeddings: Tensor, spans: Sequence[Span], cache: KeyValueCache) -> Tensor:
        """Last hidden states [tokens, hidden] of packed embeddings [tokens, hidden]; keys and values go to the cache.

        The cache must have room for every span.
        """
        packed = PackedPass(spans, cache, embeddings.device, embeddings.dtype)
        hidden = embeddings.unsqueeze(0) * self._model.embedding_multiplier
        rotation = self._model.rotary_emb(hidden, position_ids=packed.positions.unsqueeze(0))
        with self.products.during_pass(len(embeddings)):
            for layer in self._model.layers:
                hidden = layer(hidden, position_embeddings=rotation, packed=packed)
        return self._model.norm(hidden)[0]

    def logits(self, hidden: Tensor) -> Tensor:
        """Scaled logits, float32 [tokens, vocabulary], of hidden states [tokens, hidden].

        Divided by `logits_scaling`, which transformers' Granite Speech classes leave out.
        """
        with self.products.during_pass(len(hidden)):
            return self._head(hidden).float() / self._scaling


class PackedPasses:
    """Passes by transformers' layers; see `Passes`. There is always room: memory grows with what joins.

    Args:
        model: Whose passes.
        end_tokens: Tokens that end a sequence.
        settle_ties: Say where rounding could decide.
    """

    def __init__(self, model: PackedLanguageModel, end_tokens: frozenset[int], *, settle_ties: bool) -> None:
        self._model = model
        self._end_tokens = end_tokens
        self._settle_ties = settle_ties
        self._cache = KeyValueCache(model.layers)
        self._slots = count()
        self._rows: list[int] = []
        self._lengths: dict[int, int] = {}

    def join(self, positions: int) -> int | None:  # noqa: ARG002 - memory grows as it is needed
        """A slot behind all others, whose row of the cache is the next one."""
        slot = next(self._slots)
        self._rows.append(slot)
        self._lengths[slot] = 0
        return slot

    def leave(self, slot: int) -> None:
        """Close the ranks: the last row moves into the one that falls free."""
        row, last = self._rows.index(slot), self._rows.pop()
        if last != slot:
            self._cache.move(len(self._rows), row, self._lengths[last])
            self._rows[row] = last
        del self._lengths[slot]

    def run(self, parts: Sequence[Part]) -> Verdicts:
        """See `Passes`; parts in any order, one for every slot that is taken."""
        in_rows = self._in_rows(parts)
        spans = [Span(part.new, part.cached) for part in in_rows]
        self._cache.reserve(len(spans), max(span.cached + span.new for span in spans))
        hidden = self._model.run(self._embeddings(in_rows), spans, self._cache)
        self._lengths |= {part.slot: part.cached + part.new for part in parts}
        ends = dict(
            zip((part.slot for part in in_rows), accumulate(part.new for part in in_rows), strict=True)
        )
        asked = [at for part in parts for at in range(ends[part.slot] - part.asked, ends[part.slot])]
        logits = self._model.logits(hidden[torch.tensor(asked, device=hidden.device)])
        return read(judge(logits, Exceptions.of(parts), self._end_tokens, settle_ties=self._settle_ties))

    def padded(self, parts: Sequence[Part]) -> int:
        """The queries attention repeats to give every sequence that goes on as many as the longest has."""
        going_on = [part.new for part in parts if part.cached > 0]
        return len(going_on) * max(going_on, default=0) - sum(going_on)

    def _in_rows(self, parts: Sequence[Part]) -> list[Part]:
        by_slot = {part.slot: part for part in parts}
        return [by_slot[slot] for slot in self._rows]

    def _embeddings(self, parts: Sequence[Part]) -> Tensor:
        """[tokens, hidden] of the whole pass; text is looked up at once."""
        text = self._model.embed([token for part in parts for token in part.tokens])
        pieces: list[Tensor] = []
        start = 0
        for part in parts:
            if part.prompt is not None:
                pieces.append(as_tensor(part.prompt))
            pieces.append(text[start : start + len(part.tokens)])
            start += len(part.tokens)
        return torch.cat(pieces)


def as_tensor(embeddings: Any) -> Tensor:
    """What the loop and the prompt hold for a language model, without knowing of what kind it is."""
    return embeddings


def _switched_head(model: Any, switch: Switch) -> Any:
    """The head over the language model, which stands outside of it."""
    head = model.lm_head
    if can_switch(head):
        return SwitchedLinear(head, switch)
    return head
