"""Prompts that attend together say what they say one by one; torch's own call needs a GPU (see test_triton) and has a
stand-in here."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import varlen

from lithophone.backends.gpu.kernels import Heads
from lithophone.backends.gpu.prompts import Begun, OneByOne, Together, bounds_of, prompt_attention

HEADS = Heads(4, 2, 16, 0.2)
DEVICE = torch.device("cpu")


def stand_in(*given: Any, scale: float, window_size: tuple[int, int], enable_gqa: bool = False) -> Tensor:
    """What torch's call is documented to compute, by a mask over all prompts."""
    query, key, value, bounds, key_bounds, longest, longest_keys = given
    lengths = bounds.diff()
    assert bounds.equal(key_bounds)
    assert longest == longest_keys == int(lengths.max())
    assert window_size == (-1, 0)
    owner = torch.repeat_interleave(torch.arange(len(lengths)), lengths)
    place = torch.arange(len(owner))
    seen = (owner[:, None] == owner) & (place[:, None] >= place)
    by_head = (part.transpose(0, 1).unsqueeze(0) for part in (query, key, value))
    attended = functional.scaled_dot_product_attention(
        *by_head, attn_mask=seen, scale=scale, enable_gqa=enable_gqa
    )
    return attended[0].transpose(0, 1)


def of_lengths(lengths: tuple[int, ...], dtype: torch.dtype = torch.float32) -> tuple[Tensor, Begun]:
    features = (HEADS.queries + 2 * HEADS.keys) * HEADS.width
    projected = torch.randn(sum(lengths), features, generator=torch.Generator().manual_seed(1))
    bounds = torch.tensor(bounds_of(lengths), dtype=torch.int32, device=DEVICE)
    return projected.to(DEVICE, dtype), Begun(lengths, bounds)


@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=6).map(tuple))
def test_together_is_one_by_one(lengths: tuple[int, ...]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(varlen, "varlen_attn", stand_in)
        projected, begun = of_lengths(lengths)
        torch.testing.assert_close(Together(HEADS)(projected, begun), OneByOne(HEADS)(projected, begun))


def wrong(*tensors: Any, **options: Any) -> Tensor:
    """Sees what comes later."""
    return stand_in(*tensors, **options).roll(1, dims=0)


def refused(*_: Any, **__: Any) -> Tensor:
    raise RuntimeError("FlashAttention only supports fp16 and bf16")


@pytest.mark.parametrize(
    ("call", "chosen"),
    [(stand_in, Together), (wrong, OneByOne), (refused, OneByOne)],
    ids=lambda one: one.__name__,
)
def test_what_is_there_and_right_is_chosen(
    monkeypatch: pytest.MonkeyPatch, call: Any, chosen: type[Together | OneByOne]
) -> None:
    monkeypatch.setattr(varlen, "varlen_attn", call)
    assert isinstance(prompt_attention(HEADS, torch.float32, DEVICE), chosen)


def test_without_the_call_prompts_go_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(varlen, "varlen_attn")  # torch 2.9
    assert isinstance(prompt_attention(HEADS, torch.float16, DEVICE), OneByOne)
