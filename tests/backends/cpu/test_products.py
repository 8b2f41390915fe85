from __future__ import annotations

import pytest
import torch
from torch import nn

from lithophone.backends.cpu.products import (
    BLOCK_WEIGHTS,
    FEW_ROWS,
    FLOAT32_ROWS,
    SIXTEEN_BIT_ROWS,
    Switch,
    SwitchedLinear,
    can_switch,
    rows_switched,
    switch_linears,
    widened_linear,
)

MOST_ROWS = FLOAT32_ROWS[-1]


def linear(*, bias: bool = False, dtype: torch.dtype = torch.float32) -> nn.Linear:
    torch.manual_seed(3)
    return nn.Linear(48, 96, bias=bias, dtype=dtype).requires_grad_(requires_grad=False)


def switch(*, wanted: bool = True, rows: range = FLOAT32_ROWS) -> Switch:
    made = Switch(rows)
    made.wanted = wanted
    return made


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("rows", [2, 3, 8, 33, MOST_ROWS])
def test_the_other_library_computes_the_same(rows: int, bias: bool) -> None:
    plain, way = linear(bias=bias), switch()
    taken = torch.randn(1, rows, 48)
    with way.during_pass(rows):
        assert way.on
        found = SwitchedLinear(plain, way)(taken)
    torch.testing.assert_close(found, plain(taken), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("rows", "wanted"), [(1, True), (MOST_ROWS + 1, True), (8, False)])
def test_single_rows_long_passes_and_machines_without_gain_stay_as_they_are(rows: int, wanted: bool) -> None:
    way = switch(wanted=wanted)
    with way.during_pass(rows):
        assert not way.on


def test_outside_of_a_pass_nothing_is_switched() -> None:
    way = switch()
    with pytest.raises(RuntimeError), way.during_pass(8):
        raise RuntimeError
    assert not way.on


def test_only_plain_layers_take_a_switch() -> None:
    assert can_switch(linear())
    assert can_switch(linear(dtype=torch.bfloat16))
    assert not can_switch(linear(dtype=torch.float64))
    assert not can_switch(nn.LayerNorm(4))
    hooked = linear()
    hooked._hf_hook = object()  # type: ignore[assignment] - what accelerate does
    assert not can_switch(hooked)


def test_a_second_switch_takes_over_the_same_layers() -> None:
    first_layer = linear()
    parent = nn.Sequential(first_layer, nn.Sequential(linear(), nn.ReLU()))
    first, second = switch(), switch()
    assert switch_linears(parent, first) == switch_linears(parent, second) == 2
    assert parent[0].weight is first_layer.weight
    taken = torch.randn(1, 4, 48)
    with first.during_pass(4):
        assert torch.equal(parent[0](taken), first_layer(taken))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("rows", [SIXTEEN_BIT_ROWS[0], FEW_ROWS, FEW_ROWS + 1])
@pytest.mark.parametrize("features", [(48, 96), (4096, BLOCK_WEIGHTS // 4096 + 44)])
def test_widened_products_are_the_exact_ones_rounded_once(
    rows: int, bias: bool, dtype: torch.dtype, features: tuple[int, int]
) -> None:
    torch.manual_seed(rows)
    plain = nn.Linear(*features, bias=bias, dtype=dtype).requires_grad_(requires_grad=False)
    taken = torch.randn(1, rows, features[0]).to(dtype)
    found = widened_linear(taken, plain.weight, plain.bias)
    exact = torch.nn.functional.linear(
        taken.double(), plain.weight.double(), None if plain.bias is None else plain.bias.double()
    )
    assert (found.shape, found.dtype, found.is_contiguous()) == (exact.shape, dtype, True)
    torch.testing.assert_close(found.double(), exact, rtol=torch.finfo(dtype).eps, atol=1e-5)


def test_single_rows_of_16_bit_weights_stay_with_torch() -> None:
    plain = linear(dtype=torch.bfloat16)
    way = switch(rows=rows_switched(plain.weight.dtype))
    for rows, on in [(1, False), (SIXTEEN_BIT_ROWS[0], True), (1000, True)]:
        with way.during_pass(rows):
            assert way.on is on
