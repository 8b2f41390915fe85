"""Slots of sequences that nobody waits for any more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lithophone.backends.decoding.loop import Prompt
from lithophone.backends.gpu.passes import PagedLanguageModel, PoolSize
from tests.backends.decoding.test_loop import batch_of, loaded
from tests.backends.gpu.plain_kernels import PlainKernels

SIZE = PoolSize(slots=2, pages=9, slot_pages=4)
MOST_TOKENS = 100


@pytest.fixture
def model(shape: Callable[[str], Path]) -> PagedLanguageModel:
    return PagedLanguageModel(loaded(shape("granite-speech-4.1-2b")), PlainKernels(), SIZE, graphs=False)


def prompts(count: int, positions: int = 30) -> list[Prompt]:
    torch.manual_seed(2)
    return [
        Prompt(key=key, embeddings=torch.randn(positions, 64) * 0.02, max_tokens=MOST_TOKENS)
        for key in range(count)
    ]


def test_a_batch_that_is_let_go_gives_its_pages_back(model: PagedLanguageModel) -> None:
    free = model.pages.free_pages
    for _ in range(3 * SIZE.slots):  # a fault leaves a batch in the middle; slots would run out
        batch = batch_of(model)
        batch.admit(prompts(SIZE.slots))
        batch.step()
        assert model.pages.free_pages < free
        del batch
        assert model.pages.free_pages == free


def test_a_pass_that_fails_keeps_nothing(model: PagedLanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    free = model.pages.free_pages

    def run_out(*_: object) -> None:
        raise torch.OutOfMemoryError("none left")

    def fail() -> None:
        batch = batch_of(model)
        batch.admit(prompts(SIZE.slots))
        with monkeypatch.context() as patched:
            patched.setattr(model.decoder, "forward", run_out)
            batch.step()

    for _ in range(2):
        with pytest.raises(torch.OutOfMemoryError):
            fail()
    assert model.pages.free_pages == free


def test_who_finds_no_slot_waits_for_one(model: PagedLanguageModel) -> None:
    together, beside = batch_of(model), batch_of(model)
    together.admit(prompts(SIZE.slots))
    together.step()
    beside.admit(prompts(1))
    assert beside.step() == []
    assert (len(beside), beside.passes) == (1, 0)
    together.drop(0)
    beside.step()
    assert beside.passes == 1
