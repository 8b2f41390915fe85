"""What the acoustic half makes a GPU do, counted on a pretended device: nothing waits, and nothing grows with its use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.nn import functional

from lithophone.backends.base import RecognitionRequest
from lithophone.backends.decoding import encoder
from lithophone.backends.device.facts import TorchFacts
from lithophone.backends.device.plan import DevicePlan
from lithophone.backends.device.runtime import TorchRuntime
from lithophone.backends.transformers_backend.checkpoint import fetch, read_reference
from lithophone.backends.transformers_backend.ctc import CtcBackend
from lithophone.backends.transformers_backend.hearing import Hearing
from lithophone.backends.transformers_backend.loading import load_checkpoint
from tests.backends.conftest import babble
from tests.pretend_device import NAME, Kind, PretendDevice

SECONDS = (3.0, 5.1, 7.7, 2.0)
CLIPS = [babble(seconds, seed) for seed, seconds in enumerate(SECONDS)]


class PretendedPlan(DevicePlan, frozen=True, kw_only=True):
    """A GPU's, for the pretended device."""

    torch_device = NAME  # type: ignore[assignment]


PLAN = PretendedPlan(device="cuda", kind="cuda", dtype="float32", gpu_indexes=(0,))


@pytest.fixture
def device() -> Iterator[PretendDevice]:
    with TorchRuntime().thread(), PretendDevice() as device:
        yield device


def moved(device: PretendDevice, name: str, plan: DevicePlan, facts: TorchFacts) -> Any:
    """A checkpoint whose weights are on the device."""
    loaded = load_checkpoint(fetch(read_reference(name)), plan, facts)
    device.move(loaded.model)
    return loaded


def traffic(device: PretendDevice) -> dict[Kind, int]:
    """What was recorded since the last time, kernels aside."""
    counted = {kind: device.count(kind) for kind in Kind if kind is not Kind.KERNEL}
    device.clear()
    return counted


def test_an_encoder_pass_waits_only_for_what_the_ctc_head_says(
    device: PretendDevice, plan: DevicePlan, facts: TorchFacts
) -> None:
    hearing = Hearing(moved(device, "granite-speech-tiny", plan, facts).model, PLAN)
    hearing.hear(CLIPS[:1])
    device.clear()
    hearing.hear(CLIPS)
    assert device.events[-1].kind is Kind.READ
    report = device.report()
    assert traffic(device) == {Kind.COPY: 4, Kind.READ: 1, Kind.WAIT: 0, Kind.MIX: 0}, report
    hearing.hear(CLIPS[:2])
    assert traffic(device) == {Kind.COPY: 4, Kind.READ: 1, Kind.WAIT: 0, Kind.MIX: 0}, "whatever the batch"


def test_nothing_of_an_encoder_pass_grows_with_the_number_of_passes(
    device: PretendDevice, plan: DevicePlan, facts: TorchFacts
) -> None:
    hearing = Hearing(moved(device, "granite-speech-tiny", plan, facts).model, PLAN)
    counts: list[int] = []
    for _ in range(4):
        device.clear()
        hearing.hear(CLIPS)
        counts.append(len(device.events))
    assert len(set(counts[1:])) == 1, counts  # the first keeps the filterbank


def test_windows_of_a_ctc_model_wait_once_together(
    device: PretendDevice, plan: DevicePlan, facts: TorchFacts
) -> None:
    loaded = moved(device, "granite-speech-tiny-ctc", plan, facts)
    spec = read_reference("granite-speech-tiny-ctc").spec
    backend = CtcBackend(spec, spec.id, loaded.model, loaded.processor, PLAN, max_batch=8)
    requests = [RecognitionRequest(samples=clip) for clip in CLIPS]
    backend.label(requests[:1])
    device.clear()
    backend.label(requests)
    report = device.report()
    assert traffic(device) == {Kind.COPY: 2, Kind.READ: 1, Kind.WAIT: 0, Kind.MIX: 0}, report


def test_a_gpu_is_given_aligned_biases(
    device: PretendDevice, plan: DevicePlan, facts: TorchFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    hearing = Hearing(moved(device, "granite-speech-tiny", plan, facts).model, PLAN)
    seen: list[torch.Tensor] = []
    attention = functional.scaled_dot_product_attention

    def watched(*tensors: Any, attn_mask: torch.Tensor | None = None, **options: Any) -> Any:
        if attn_mask is not None:
            seen.append(attn_mask)
        return attention(*tensors, attn_mask=attn_mask, **options)

    monkeypatch.setattr(encoder.functional, "scaled_dot_product_attention", watched)
    for milliseconds in range(200, 520, 20):  # sixteen numbers of frames, one after another
        hearing.hear([babble(milliseconds / 1000, 0)])
    assert seen
    for mask in seen:
        assert mask.storage_offset() % 16 == 0
        assert all(stride % 16 == 0 for stride in mask.stride()[:-1])
