"""Linear layers of 8 bits multiply as their weights say, and only where that is possible."""

from __future__ import annotations

import sys

import msgspec
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from lithophone.backends.cpu.int8 import (
    SHORT_PASS_TOKENS,
    Int8Linear,
    quantize_language_model,
)
from lithophone.backends.device.facts import DTYPE_BYTES
from lithophone.backends.device.plan import DevicePlan, DeviceWishes, ModelSize, plan_device
from lithophone.errors import ConfigurationError
from tests.backends.conftest import babble, heard_by, opened
from tests.conftest import ShapeFolders
from tests.machines import CPU_BUILD, GB, RTX_4090, cuda_build

HAVE_TORCHAO = "torchao is the optional extra int8"


def layer(inputs: int, outputs: int, bias: Tensor | None = None) -> tuple[Int8Linear, Tensor]:
    """A layer, and the weight it stands for in float64."""
    generator = torch.Generator().manual_seed(1)
    values = torch.randint(-128, 128, (outputs, inputs), dtype=torch.int8, generator=generator)
    scale = torch.rand(outputs, generator=generator) / 100
    return Int8Linear(values, scale, bias), values.double() * scale.double().unsqueeze(1)


def rows(tokens: int, inputs: int) -> Tensor:
    return torch.randn(1, tokens, inputs, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("tokens", [1, 7, SHORT_PASS_TOKENS, SHORT_PASS_TOKENS + 1])
@pytest.mark.parametrize(("inputs", "outputs"), [(192, 384), (100, 33)])
def test_a_layer_multiplies_as_its_weights_say(
    dtype: torch.dtype, tokens: int, inputs: int, outputs: int
) -> None:
    bias = torch.ones(outputs, dtype=dtype)
    module, weight = layer(inputs, outputs, bias)
    given = rows(tokens, inputs).to(dtype)
    wanted = functional.linear(given.double(), weight, bias.double())
    got = module(given)
    assert got.dtype is dtype
    assert got.shape == (1, tokens, outputs)
    assert (got.double() - wanted).norm() < 0.01 * wanted.norm()


def test_long_passes_in_float32_keep_its_precision() -> None:
    module, weight = layer(192, 384)
    given = rows(SHORT_PASS_TOKENS + 1, 192)
    wanted = given.double() @ weight.T
    assert (module(given).double() - wanted).norm() < 1e-6 * wanted.norm()


def test_without_torchao_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchao", None)
    monkeypatch.setitem(sys.modules, "torchao.quantization", None)
    with pytest.raises(ConfigurationError, match=r"pip install torchao"):
        quantize_language_model(torch.nn.Module())


def test_layers_that_accelerate_spreads_stay_as_they_are() -> None:
    size = ModelSize(parameters=17 * GB, required_bytes=dict.fromkeys(DTYPE_BYTES, 40 * GB))
    with pytest.raises(ConfigurationError, match="whole model on one device"):
        plan_device(cuda_build(RTX_4090, RTX_4090), DeviceWishes(quantization="int8"), size=size)


def test_the_plan_says_what_was_asked() -> None:
    plan = plan_device(CPU_BUILD, DeviceWishes(quantization="int8"))
    assert plan.quantization == "int8"
    assert "--quantization int8, as asked" in plan.reasons


def test_a_model_without_a_language_model_is_refused(shape: ShapeFolders, plan: DevicePlan) -> None:
    changed = msgspec.structs.replace(plan, quantization="int8")
    with pytest.raises(ConfigurationError, match="with a language model only"):
        opened(str(shape("granite-speech-5.0-470m-turboctc")), changed)


@pytest.mark.slow
def test_a_quantised_model_takes_less_memory_and_still_hears(shape: ShapeFolders, plan: DevicePlan) -> None:
    pytest.importorskip("torchao", reason=HAVE_TORCHAO)
    folder = str(shape("granite-speech-4.1-2b"))
    whole = opened(folder, plan)
    small = opened(folder, msgspec.structs.replace(plan, quantization="int8"))
    assert small.info.weight_bytes < whole.info.weight_bytes
    assert heard_by(small, babble(2.0)).tokens
