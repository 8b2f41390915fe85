"""What a decoding step makes a GPU do, counted on a machine without one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from lithophone.backends.decoding.costs import CostCurve, DraftBudget
from lithophone.backends.decoding.loop import DecodingBatch, Prompt
from lithophone.backends.decoding.speculation import Source, Speculator
from lithophone.backends.gpu.passes import PagedLanguageModel, PoolSize
from tests.backends.decoding.test_loop import Same, loaded
from tests.backends.gpu.plain_kernels import PlainKernels
from tests.pretend_device import NAME, Event, Kind, PretendDevice

OWN = ("rms_norm", "normed_product", "rotate_and_store", "attend", "normed_gated_product", "add_product")
LAYER_KERNELS = 6
COPIES, READS = 2, 1  # the most of a step


class Step(NamedTuple):
    """What one step made the device do."""

    events: tuple[Event, ...]
    report: str

    def count(self, *kinds: Kind) -> int:
        return sum(event.kind in kinds for event in self.events)


class OneKernelEach(PlainKernels):
    """The plain kernels, each counted as the single one that Triton makes of it."""

    def __init__(self, device: PretendDevice) -> None:
        self.device = device
        for name in OWN:
            setattr(self, name, self._counted(getattr(PlainKernels(), name), name))

    def _counted(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        return lambda *arguments: self.device.compute(function, name, arguments, {})


@pytest.fixture
def device() -> PretendDevice:
    return PretendDevice()


@pytest.fixture
def model(shape: Callable[[str], Path], device: PretendDevice) -> PagedLanguageModel:
    whole = loaded(shape("granite-speech-4.1-2b"))
    device.move(whole)
    size = PoolSize(slots=8, pages=40, slot_pages=4)
    with device:
        return PagedLanguageModel(whole, OneKernelEach(device), size, graphs=False)


def steps(model: PagedLanguageModel, device: PretendDevice, count: int, **options: Any) -> list[Step]:
    """What each of some steps did that come after the prompts'."""
    passes = model.start(frozenset({3}), settle_ties=True)
    batch = DecodingBatch(passes, frozenset({3}), CostCurve((1, 8, 32), (1.0, 1.0, 1.0)), DraftBudget())
    torch.manual_seed(1)
    prompts = [torch.randn(length, 64) * 0.02 for length in (5, 70, 9)]
    draft = [5, 99, 17]
    with device:
        batch.admit(
            [
                Prompt(
                    key=key,
                    embeddings=prompt.to(NAME),
                    max_tokens=60,
                    speculator=Speculator([Source(Same(draft), 0.9)]) if key == 1 else None,
                    **options,
                )
                for key, prompt in enumerate(prompts)
            ]
        )
        batch.step()
        seen: list[Step] = []
        for _ in range(count):
            device.clear()
            batch.step()
            seen.append(Step(tuple(device.events), device.report()))
    return seen


def test_a_step_is_sent_in_one_copy_and_read_with_one(
    model: PagedLanguageModel, device: PretendDevice
) -> None:
    for step in steps(model, device, 6):
        assert step.count(Kind.COPY) <= COPIES, step.report
        assert step.count(Kind.READ) == READS, step.report
        assert step.count(Kind.WAIT, Kind.MIX) == 0, step.report


def test_a_layer_is_six_kernels(model: PagedLanguageModel, device: PretendDevice) -> None:
    inside = [
        sum(
            "decoder.py" in event.line or event.operation in OWN
            for event in step.events
            if event.kind is Kind.KERNEL
        )
        for step in steps(model, device, 3)
    ]
    layers = model.decoder.depth
    around = 3  # embedding, its multiplier, the last norm
    assert inside == [LAYER_KERNELS * layers + around] * 3


def test_nothing_grows_with_the_number_of_steps(model: PagedLanguageModel, device: PretendDevice) -> None:
    found = steps(model, device, 40)
    assert len({step.count(Kind.KERNEL) for step in found[5:]}) == 1
    assert len({step.count(Kind.COPY) for step in found[5:]}) == 1


def test_nor_does_a_draw_wait(model: PagedLanguageModel, device: PretendDevice) -> None:
    for step in steps(model, device, 3, temperature=1.0, min_tokens=10):
        assert step.count(Kind.READ) == READS, step.report
        assert step.count(Kind.WAIT, Kind.MIX) == 0, step.report
