"""Which way a loaded model goes on a GPU: by kernels where they compute what plain operations do, else by those."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from structlog.testing import capture_logs
from torch import Tensor
from torch.nn.attention import varlen

from lithophone.backends.decoding.encoder import PackedEncoder
from lithophone.backends.decoding.packed import PackedLanguageModel
from lithophone.backends.device.facts import read_torch_facts
from lithophone.backends.device.plan import DevicePlan
from lithophone.backends.gpu import graphs as steps
from lithophone.backends.gpu import opening, passes, trial
from lithophone.backends.gpu.conformer import Norm
from lithophone.backends.gpu.graphs import Stepped
from lithophone.backends.gpu.kernels import Heads, Pages, Where
from lithophone.backends.gpu.passes import PagedLanguageModel
from lithophone.backends.gpu.prompts import Together
from lithophone.granite.packing import PackedRows
from tests.backends.conftest import cpu_plan
from tests.backends.decoding.test_loop import batch_of, loaded
from tests.backends.gpu import eager_graphs
from tests.backends.gpu.eager_graphs import EagerGraphs
from tests.backends.gpu.plain_conformer import PlainConformerKernels
from tests.backends.gpu.plain_kernels import PlainKernels
from tests.backends.gpu.test_prompts import stand_in
from tests.backends.gpu.test_slots import prompts

WINDOWS = 2


class Refusing(PlainKernels):
    """The compiler refuses one of them."""

    def attend(self, *_: Any, **__: Any) -> Tensor:
        raise TypeError("unsupported pointer type")


class RefusingOneSize(PlainKernels):
    """The compiler refuses what a step of eight tokens needs."""

    def attend(self, projected: Tensor, where: Where, pages: Pages, heads: Heads) -> Tensor:
        if len(projected) == 8:
            raise ValueError("no layout")
        return super().attend(projected, where, pages, heads)


class WrongForMany(PlainKernels):
    """Something else comes out where there are many tokens."""

    def attend(self, projected: Tensor, where: Where, pages: Pages, heads: Heads) -> Tensor:
        found = super().attend(projected, where, pages, heads)
        return found.roll(1, dims=1) if len(found) > 64 else found


class OutOfMemory(PlainKernels):
    """There is no room for what a kernel needs."""

    def add_product(self, *_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("none left")


class LosesTheLast(PlainConformerKernels):
    """What is added at the end of a sum is lost."""

    def norm_of_sum(self, hidden: Tensor, delta: Tensor, scale: float, norm: Norm) -> Tensor:
        found = super().norm_of_sum(hidden, delta, scale, norm)
        found[-1] = 0.0
        return found


@pytest.fixture(autouse=True)
def few_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels' stand-ins take long with many tokens."""
    for module in (trial, steps, eager_graphs):
        monkeypatch.setattr(module, "SIZES", (1, 2, 8))


@pytest.fixture
def plan() -> DevicePlan:
    """Of a GPU that computes on the CPU."""
    return msgspec.structs.replace(cpu_plan(read_torch_facts(), "float32"), device="rocm", graphs=False)


@pytest.fixture
def model(shape: Callable[[str], Path]) -> Any:
    return loaded(shape("granite-speech-4.1-2b"))


def texts(language_model: Any) -> list[Sequence[int]]:
    batch = batch_of(language_model)
    batch.admit(prompts(WINDOWS))
    said: dict[int, Sequence[int]] = {}
    while len(batch):
        said |= {one.key: one.tokens for one in batch.step()}
    return [said[key] for key in sorted(said)]


def test_kernels_that_agree_serve(model: Any, plan: DevicePlan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "_kernels", lambda _: PlainKernels())
    paged = opening.paged_language_model(model, plan, WINDOWS)
    assert isinstance(paged, PagedLanguageModel)
    free = paged.pages.free_pages
    found = texts(paged)
    assert paged.pages.free_pages == free
    assert found == texts(PackedLanguageModel(model, torch.device("cpu")))


def test_prompts_may_attend_in_one_call(
    model: Any, plan: DevicePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "_kernels", lambda _: PlainKernels())
    monkeypatch.setattr(varlen, "varlen_attn", stand_in)
    paged = opening.paged_language_model(model, plan, WINDOWS)
    assert paged is not None
    assert isinstance(paged.decoder._attend_begun, Together)
    assert texts(paged) == texts(PackedLanguageModel(model, torch.device("cpu")))


@pytest.mark.parametrize(
    ("kernels", "reason"),
    [
        (Refusing(), "TypeError: unsupported"),
        (RefusingOneSize(), "ValueError: no layout"),
        (WrongForMany(), "they compute something else"),
    ],
    ids=["refused", "one size refused", "wrong"],
)
def test_others_give_way_to_plain_operations(
    shape: Callable[[str], Path],
    plan: DevicePlan,
    monkeypatch: pytest.MonkeyPatch,
    kernels: PlainKernels,
    reason: str,
) -> None:
    model, untouched = (loaded(shape("granite-speech-4.1-2b")) for _ in range(2))
    monkeypatch.setattr(opening, "_kernels", lambda _: kernels)
    with capture_logs() as logs:
        assert opening.paged_language_model(model, plan, WINDOWS) is None
    (entry,) = (one for one in logs if one["event"] == "reference_decoder")
    assert entry["reason"].startswith(reason)
    found, expected = (PackedLanguageModel(one, torch.device("cpu")) for one in (model, untouched))
    assert texts(found) == texts(expected)  # on views of what was taken over


def test_no_room_is_not_a_fault_of_the_kernels(
    model: Any, plan: DevicePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "_kernels", lambda _: OutOfMemory())
    with pytest.raises(torch.OutOfMemoryError):
        opening.paged_language_model(model, plan, WINDOWS)


def test_without_a_reference_kernels_serve(
    model: Any, plan: DevicePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no library")

    monkeypatch.setattr(opening, "_kernels", lambda _: PlainKernels())
    monkeypatch.setattr(type(model.model.language_model), "forward", fail)
    assert opening.paged_language_model(model, plan, WINDOWS) is not None


def test_graphs_that_cannot_be_captured_are_done_without(
    model: Any, plan: DevicePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "_kernels", lambda _: PlainKernels())
    paged = opening.paged_language_model(model, msgspec.structs.replace(plan, graphs=True), WINDOWS)
    assert paged is not None
    with capture_logs() as logs:
        paged.prepare()  # a CPU has none
    assert [one["event"] for one in logs] == ["no_graphs"]
    assert texts(paged) == texts(PackedLanguageModel(model, torch.device("cpu")))


class Overlapping(PlainKernels):
    """They do not always wait for each other, as long as they may overlap."""

    def __init__(self) -> None:
        self.overlaps, self.steps = True, 0

    def begin_one_by_one(self) -> bool:
        overlapped, self.overlaps = self.overlaps, False
        return overlapped

    def attend(self, projected: Tensor, where: Where, pages: Pages, heads: Heads) -> Tensor:
        self.steps += 1
        found = super().attend(projected, where, pages, heads)
        return found * 2 if self.overlaps and self.steps % 7 == 0 else found


class WrongGraphs(EagerGraphs):
    """A replay says something else than what was captured."""

    def replay(self, packed: NDArray[np.int32]) -> Stepped:
        stepped = super().replay(packed)
        return stepped._replace(logits=stepped.logits.roll(1, dims=-1))


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ((PlainKernels(), EagerGraphs), []),
        ((Overlapping(), EagerGraphs), ["no_overlap"]),
        ((PlainKernels(), WrongGraphs), ["no_graphs"]),
    ],
    ids=["agree", "overlap", "wrong"],
)
def test_graphs_are_held_against_what_they_were_captured_from(
    model: Any,
    plan: DevicePlan,
    monkeypatch: pytest.MonkeyPatch,
    parts: tuple[PlainKernels, type[EagerGraphs]],
    told: list[str],
) -> None:
    kernels, graphs = parts
    monkeypatch.setattr(opening, "_kernels", lambda _: PlainKernels())
    monkeypatch.setattr(passes, "StepGraphs", graphs)
    paged = opening.paged_language_model(model, msgspec.structs.replace(plan, graphs=True), WINDOWS)
    assert paged is not None
    paged.decoder._kernels = kernels
    free = paged.pages.free_pages
    with capture_logs() as logs:
        paged.prepare()
    assert [one["event"] for one in logs] == told
    assert (paged.graphs is None) == ("no_graphs" in told)
    assert paged.pages.free_pages == free
    assert texts(paged) == texts(PackedLanguageModel(model, torch.device("cpu")))


def test_layers_of_the_encoder_that_agree_serve(
    model: Any, plan: DevicePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = model.model.encoder
    monkeypatch.setattr(opening, "_kernels", lambda _: PlainKernels())
    monkeypatch.setattr(opening, "_conformer_kernels", PlainConformerKernels)
    form = opening.kernel_encoder_layers(encoder, plan)
    assert form is not None
    torch.manual_seed(1)
    features = PackedRows(torch.randn(73, 160), (40, 3, 30))
    found, expected = (PackedEncoder(encoder, layers).encode(features).rows for layers in (form, None))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_layers_of_the_encoder_that_do_not_agree_give_way(
    model: Any, plan: DevicePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "_kernels", lambda _: PlainKernels())
    monkeypatch.setattr(opening, "_conformer_kernels", LosesTheLast)
    with capture_logs() as logs:
        assert opening.kernel_encoder_layers(model.model.encoder, plan) is None
    assert [one["event"] for one in logs] == ["reference_encoder"]
