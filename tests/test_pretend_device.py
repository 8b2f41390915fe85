"""The pretended device records what a GPU would be made to do."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.pretend_device import NAME, Kind, PretendDevice


@pytest.fixture(params=[torch.no_grad, torch.inference_mode], ids=["no_grad", "inference_mode"])
def device(request: pytest.FixtureRequest) -> Iterator[PretendDevice]:
    with request.param(), PretendDevice() as device:
        yield device


def kinds(device: PretendDevice) -> list[Kind]:
    return [event.kind for event in device.events]


def test_layers_compute_what_the_cpu_computes(device: PretendDevice) -> None:
    layers = nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 2))
    inputs = torch.randn(3, 8)
    expected = layers(inputs)
    device.move(layers)
    found = layers(inputs.to(NAME))
    assert (found.device.type, found.tolist()) == ("pretend", expected.tolist())
    assert kinds(device) == [Kind.COPY, *[Kind.KERNEL] * 4, Kind.READ]


WAITING: dict[str, tuple[Kind, Callable[[Tensor], object]]] = {
    "item": (Kind.READ, lambda x: x[0, 0].item()),
    "tolist": (Kind.READ, lambda x: x.tolist()),
    "numpy": (Kind.READ, lambda x: x.numpy()),
    "cpu": (Kind.READ, lambda x: x.cpu()),
    "if": (Kind.READ, lambda x: bool(x[0, 0])),
    "copy_": (Kind.READ, lambda x: torch.zeros(3, 4).copy_(x)),
    "nonzero": (Kind.WAIT, lambda x: x.nonzero()),
    "mask": (Kind.WAIT, lambda x: x[x.bool()]),
    "mask written": (Kind.WAIT, lambda x: x.__setitem__(x.bool(), torch.zeros((), device=NAME))),
    "masked_select": (Kind.WAIT, lambda x: x.masked_select(x.bool())),
    "repeat_interleave": (Kind.WAIT, lambda x: x.repeat_interleave(x[:, 0].long(), dim=0)),
    "multinomial": (Kind.WAIT, lambda x: torch.multinomial(x, 1)),
}


@pytest.mark.parametrize("name", WAITING)
def test_the_host_waits(device: PretendDevice, name: str) -> None:
    kind, act = WAITING[name]
    act(device.hold(torch.ones(3, 4)))
    waits = [event for event in device.events if event.kind in {Kind.READ, Kind.WAIT}]
    assert [event.kind for event in waits] == [kind], device.report()
    assert waits[0].line.startswith("tests/test_pretend_device.py:"), waits


def test_views_start_nothing(device: PretendDevice) -> None:
    x = device.hold(torch.arange(12.0))
    y = x.view(3, 4).t()[1:].unsqueeze(0).expand(5, 3, 3).reshape(5, 3, 3)
    x += 1
    assert y[0].tolist() == torch.arange(1.0, 13.0).view(3, 4).t()[1:].tolist()
    assert kinds(device) == [Kind.KERNEL, Kind.READ]


def test_what_is_made_there_is_a_kernel_and_what_is_sent_a_copy(device: PretendDevice) -> None:
    torch.arange(3, device=NAME)
    assert kinds(device) == [Kind.KERNEL]
    torch.tensor([1, 2, 3], device=NAME)
    torch.ones(3).to(NAME, torch.float64)
    torch.ones(3).to(NAME, non_blocking=True)
    torch.zeros(3, device=NAME).copy_(torch.ones(3))
    assert kinds(device)[1:] == [Kind.COPY, Kind.COPY, Kind.COPY, Kind.KERNEL, Kind.COPY]


def test_two_devices_in_one_operation_are_a_mix_but_for_numbers(device: PretendDevice) -> None:
    x = device.hold(torch.ones(3))
    _ = x * torch.tensor(2.0)
    assert device.count(Kind.MIX) == 0
    _ = x * torch.ones(3)
    assert [event.operation for event in device.events if event.kind is Kind.MIX] == ["mul"]
    _ = x[torch.tensor([0, 1])]
    assert device.count(Kind.COPY) == 1, "an index on the host is copied"


def test_attention_is_one_kernel(device: PretendDevice) -> None:
    x = device.hold(torch.randn(1, 2, 5, 8))
    functional.scaled_dot_product_attention(x, x, x, is_causal=True)
    assert kinds(device) == [Kind.KERNEL]


def test_work_on_the_host_is_not_recorded(device: PretendDevice) -> None:
    assert torch.ones(3)[torch.ones(3) > 0].nonzero().tolist() == [[0], [1], [2]]
    assert device.events == []


def test_shared_weights_stay_shared(device: PretendDevice) -> None:
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    device.move(nn.Sequential(first, second))
    assert first.weight is second.weight
    assert device.events == []


@torch.library.custom_op("pretend_device_test::twice", mutates_args=())
def twice(x: Tensor) -> Tensor:
    raise NotImplementedError("only a GPU can")


def test_a_stand_in_computes_what_the_cpu_cannot() -> None:
    with torch.no_grad(), PretendDevice({"pretend_device_test::twice": lambda x: x * 2}) as device:
        assert twice(device.hold(torch.ones(2))).tolist() == [2, 2]
    assert kinds(device) == [Kind.KERNEL, Kind.READ]


def test_no_device_is_found_by_looking_for_one(device: PretendDevice) -> None:  # noqa: ARG001 - it is registered
    assert not torch.accelerator.is_available()
    with torch.random.fork_rng():
        torch.manual_seed(3)
