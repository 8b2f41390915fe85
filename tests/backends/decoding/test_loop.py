"""What is said does not depend on drafts, neighbours or the order in which sequences come and go."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from accelerate import cpu_offload
from torch import Tensor
from transformers import GraniteSpeechForConditionalGeneration

from lithophone.backends.decoding import loop, verdicts
from lithophone.backends.decoding.costs import Cost, CostCurve, DraftBudget, LearnedCost
from lithophone.backends.decoding.decoded import Decoded
from lithophone.backends.decoding.loop import DecodingBatch, Prompt
from lithophone.backends.decoding.packed import PackedLanguageModel
from lithophone.backends.decoding.passes import LanguageModel
from lithophone.backends.decoding.speculation import Source, Speculator
from lithophone.backends.gpu.passes import PagedLanguageModel, PoolSize
from tests.backends.gpu.eager_graphs import EagerGraphs
from tests.backends.gpu.plain_kernels import PlainKernels

MOST = 24
CHEAP = CostCurve((1, 8, 32), (1.0, 1.0, 1.0))  # every draft is taken whole
LENGTHS = (3, 40, 17, 130, 8)


class Scripted:
    """A draft of fixed tokens, of which what was said is crossed off by count."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self._tokens = list(tokens)

    def propose(self) -> Sequence[int]:
        return self._tokens

    def observe(self, emitted: Sequence[int]) -> None:
        del self._tokens[: len(emitted)]


class Same:
    """A draft that never learns."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self._tokens = tokens

    def propose(self) -> Sequence[int]:
        return self._tokens

    def observe(self, emitted: Sequence[int]) -> None:
        pass


def loaded(folder: Path) -> Any:
    model: Any = GraniteSpeechForConditionalGeneration
    return model.from_pretrained(folder, dtype=torch.float32).eval().requires_grad_(requires_grad=False)


@pytest.fixture(scope="module")
def packed(shape: Callable[[str], Path]) -> PackedLanguageModel:
    return PackedLanguageModel(loaded(shape("granite-speech-4.1-2b")), torch.device("cpu"))


@pytest.fixture(scope="module", params=["packed", "paged", "graphs"])
def model(
    request: pytest.FixtureRequest, packed: PackedLanguageModel, shape: Callable[[str], Path]
) -> LanguageModel:
    """The reference, and the way of GPUs with plain operations in place of its kernels."""
    if request.param == "packed":
        return packed
    paged = PagedLanguageModel(
        loaded(shape("granite-speech-4.1-2b")),
        PlainKernels(),
        PoolSize(slots=16, pages=40, slot_pages=3),
        graphs=False,
    )
    if request.param == "graphs":
        paged.graphs = EagerGraphs(paged)
        paged.prepare()
    return paged


@pytest.fixture(scope="module")
def prompts() -> list[Tensor]:
    torch.manual_seed(7)
    return [torch.randn(length, 64) * 0.02 for length in LENGTHS]


@pytest.fixture(scope="module")
def plain(packed: PackedLanguageModel, prompts: list[Tensor]) -> list[Decoded]:
    """Each alone and token by token."""
    return [run(packed, [Prompt(key=0, embeddings=prompt, max_tokens=MOST)])[0] for prompt in prompts]


@pytest.fixture(scope="module")
def end(plain: list[Decoded]) -> int:
    """A token that some of the sequences say early: the one after which they shall end."""
    return plain[1].tokens[MOST // 2]


def run(
    model: LanguageModel,
    prompts: Sequence[Prompt],
    ends: frozenset[int] = frozenset(),
    cost: Cost = CHEAP,
) -> list[Decoded]:
    batch = DecodingBatch(model.start(ends, settle_ties=True), ends, cost, DraftBudget())
    batch.admit(prompts)
    found: dict[int, Decoded] = {}
    while len(batch):
        found |= {decoded.key: decoded for decoded in batch.step()}
    return [found[prompt.key] for prompt in prompts]


def batch_of(model: LanguageModel, *, settle_ties: bool = True) -> DecodingBatch:
    passes = model.start(frozenset(), settle_ties=settle_ties)
    return DecodingBatch(passes, frozenset(), CHEAP, DraftBudget())


def drafted(prompt: Tensor, draft: Any, key: int = 0) -> Prompt:
    speculator = None if draft is None else Speculator([Source(draft, 0.9)])
    return Prompt(key=key, embeddings=prompt, max_tokens=MOST, speculator=speculator)


DRAFTS: dict[str, Callable[[list[int]], Any]] = {
    "none": lambda _: None,
    "empty": lambda _: Scripted([]),
    "right": Scripted,
    "right and far too long": lambda said: Scripted([*said, *said, *said]),
    "cut short": lambda said: Scripted(said[:3]),
    "wrong everywhere": lambda said: Scripted([(token + 1) % 300 for token in said]),
    "wrong in every third place": lambda said: Scripted([t + (i % 3 == 2) for i, t in enumerate(said)]),
    "late by one": lambda said: Scripted([said[0], *said]),
    "garbage, always": lambda _: Same([5, 99, 17, 5, 5]),
    "the end, always": lambda said: Same([said[-1]]),
}


@pytest.mark.parametrize("name", DRAFTS)
def test_no_draft_changes_what_is_said(
    name: str, model: LanguageModel, prompts: list[Tensor], plain: list[Decoded]
) -> None:
    for prompt, expected in zip(prompts, plain, strict=True):
        said = run(model, [drafted(prompt, DRAFTS[name](list(expected.tokens)))])[0]
        assert said.tokens == expected.tokens
        assert said.log_probs == pytest.approx(expected.log_probs, abs=1e-4)
        assert said.truncated
        assert said.accepted <= said.drafted


def test_no_neighbour_changes_what_is_said_whatever_is_drafted(
    model: LanguageModel, prompts: list[Tensor], plain: list[Decoded]
) -> None:
    crowd = [
        (expected, drafted(prompt, make(list(expected.tokens)), key=number))
        for number, ((prompt, expected), make) in enumerate(
            itertools.product(zip(prompts, plain, strict=True), DRAFTS.values())
        )
    ]
    for start in range(0, len(crowd), 16):
        part = crowd[start : start + 16]
        said = run(model, [prompt for _, prompt in part])
        assert [s.tokens for s in said] == [expected.tokens for expected, _ in part]


def test_a_right_draft_takes_one_pass(
    model: LanguageModel, prompts: list[Tensor], plain: list[Decoded]
) -> None:
    said = run(model, [drafted(prompts[1], Scripted(plain[1].tokens))])[0]
    assert (said.passes, said.drafted, said.accepted) == (1, MOST - 1, MOST - 1)
    assert plain[1].passes == MOST


@pytest.mark.parametrize("name", DRAFTS)
def test_a_sequence_ends_where_the_end_is_said(
    name: str, end: int, model: LanguageModel, prompts: list[Tensor], plain: list[Decoded]
) -> None:
    for prompt, whole in zip(prompts, plain, strict=True):
        expected = whole.tokens[: whole.tokens.index(end) + 1] if end in whole.tokens else whole.tokens
        draft = DRAFTS[name](list(expected))
        said = run(model, [drafted(prompt, draft)], frozenset({end}))[0]
        assert said.tokens == expected
        assert said.truncated == (end not in expected)


def test_sequences_join_and_leave_between_any_two_steps(
    model: LanguageModel, prompts: list[Tensor], plain: list[Decoded]
) -> None:
    batch = batch_of(model)
    waiting = [
        drafted(prompt, Scripted(expected.tokens[: 5 * number]), key=number)
        for number, (prompt, expected) in enumerate(zip(prompts * 3, plain * 3, strict=True))
    ]
    found: dict[int, Decoded] = {}
    while waiting or len(batch):
        batch.admit(waiting[:2])
        del waiting[:2]
        found |= {decoded.key: decoded for decoded in batch.step()}
    assert [found[key].tokens for key in range(15)] == [expected.tokens for expected in plain * 3]


def test_a_sequence_that_is_dropped_is_gone_and_the_others_go_on(
    model: LanguageModel, prompts: list[Tensor], plain: list[Decoded]
) -> None:
    batch = batch_of(model)
    batch.admit([drafted(prompt, None, key=number) for number, prompt in enumerate(prompts)])
    batch.step()
    batch.drop(0)
    batch.drop(3)
    found: dict[int, Decoded] = {}
    while len(batch):
        found |= {decoded.key: decoded for decoded in batch.step()}
    assert {key: decoded.tokens for key, decoded in found.items()} == {n: plain[n].tokens for n in (1, 2, 4)}


def test_prompts_that_do_not_fit_into_one_pass_wait_for_the_next(
    model: LanguageModel, prompts: list[Tensor], plain: list[Decoded], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "PROMPT_TOKENS_PER_PASS", 50)
    said = run(model, [drafted(prompt, None, key=number) for number, prompt in enumerate(prompts)])
    assert [decoded.tokens for decoded in said] == [expected.tokens for expected in plain]


def test_where_rounding_could_decide_a_sequence_is_given_up(
    model: LanguageModel, prompts: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdicts, "CONTESTED_MARGIN", 10.0)
    assert run(model, [drafted(prompts[0], None)])[0].contested
    batch = batch_of(model, settle_ties=False)
    batch.admit([drafted(prompts[0], None)])
    assert batch.step() == []


def test_a_cold_draw_is_the_greedy_choice_and_a_warm_one_is_not_always(
    model: LanguageModel, prompts: list[Tensor], plain: list[Decoded]
) -> None:
    mixed = [
        Prompt(key=0, embeddings=prompts[0], max_tokens=MOST, temperature=1e-3),
        drafted(prompts[1], Scripted(plain[1].tokens), key=1),
        *(
            Prompt(key=key, embeddings=prompts[0], max_tokens=2, temperature=2.0, seed=key)
            for key in range(2, 12)
        ),
    ]
    said = run(model, mixed)
    assert said[0].tokens == plain[0].tokens
    assert said[1].tokens == plain[1].tokens
    assert len({decoded.tokens for decoded in said[2:]}) > 1


def test_the_same_seed_draws_the_same_again_in_any_company(
    model: LanguageModel, prompts: list[Tensor]
) -> None:
    asked = Prompt(key=0, embeddings=prompts[0], max_tokens=MOST, temperature=2.0, seed=7)
    beside = [Prompt(key=key, embeddings=prompts[1], max_tokens=key, temperature=2.0) for key in range(1, 4)]
    (alone,) = run(model, [asked])
    assert run(model, [*beside, asked])[-1].tokens == alone.tokens
    assert run(model, [msgspec.structs.replace(asked, seed=8)])[0].tokens != alone.tokens


def test_draws_follow_the_distribution(model: LanguageModel, prompts: list[Tensor]) -> None:
    """First tokens at temperature 1 against the model's own probabilities: a chi-square far beyond chance would fail."""
    draws = 400
    asked = [
        Prompt(key=key, embeddings=prompts[0], max_tokens=1, temperature=1.0, seed=key)
        for key in range(draws)
    ]
    said = run(model, asked)
    probabilities = {decoded.tokens[0]: float(torch.tensor(decoded.log_probs[0]).exp()) for decoded in said}
    counts = {token: sum(decoded.tokens[0] == token for decoded in said) for token in probabilities}
    top = sorted(probabilities, key=lambda token: -probabilities[token])[:5]
    for token in top:
        expected = draws * probabilities[token]
        assert abs(counts[token] - expected) < 5 * max(expected, 1) ** 0.5


def test_layers_that_are_offloaded_say_the_same(
    shape: Callable[[str], Path], prompts: list[Tensor], plain: list[Decoded]
) -> None:
    whole = loaded(shape("granite-speech-4.1-2b"))
    cpu_offload(whole, execution_device=torch.device("cpu"))
    offloaded = PackedLanguageModel(whole, torch.device("cpu"))
    said = run(
        offloaded,
        [
            drafted(prompt, Scripted(e.tokens), key=n)
            for n, (prompt, e) in enumerate(zip(prompts, plain, strict=True))
        ],
    )
    assert [decoded.tokens for decoded in said] == [expected.tokens for expected in plain]


def test_the_cost_is_learned_from_the_clock(
    model: LanguageModel, prompts: list[Tensor], plain: list[Decoded]
) -> None:
    cost = LearnedCost(CostCurve((1, 8, 32), (1000.0, 1000.0, 1000.0)))  # seconds: none of it is true
    run(model, [drafted(prompts[0], Scripted(plain[0].tokens))], cost=cost)
    assert 0 < cost(1) < 10


def test_nor_does_the_library_that_computes_short_passes(
    packed: PackedLanguageModel,
    prompts: list[Tensor],
    plain: list[Decoded],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(packed.products, "wanted", True)
    crowd = [
        drafted(prompt, DRAFTS["wrong in every third place"](list(expected.tokens)), key=number)
        for number, (prompt, expected) in enumerate(zip(prompts, plain, strict=True))
    ]
    for said, expected in zip(run(packed, crowd), plain, strict=True):
        assert said.contested or said.tokens == expected.tokens


@pytest.mark.parametrize("name", ["none", "right", "the end, always"])
def test_a_sequence_that_has_to_go_on_does_not_end(
    name: str, model: LanguageModel, prompts: list[Tensor], plain: list[Decoded], end: int
) -> None:
    ends = frozenset({end})
    (free,) = run(model, [drafted(prompts[1], None)], ends)
    least = len(free.tokens) + 3
    prompt = msgspec.structs.replace(
        drafted(prompts[1], DRAFTS[name](list(plain[1].tokens))), min_tokens=least
    )
    (held,) = run(model, [prompt], ends)
    assert len(held.tokens) >= least
    assert held.tokens[: len(free.tokens) - 1] == free.tokens[:-1]
    assert end not in held.tokens[: least - 1]


def test_passes_positions_and_padding_are_counted(model: LanguageModel, prompts: list[Tensor]) -> None:
    batch = batch_of(model)
    batch.admit([Prompt(key=0, embeddings=prompts[0], max_tokens=3)])
    batch.admit([drafted(prompts[1], Same([5, 99, 17, 5, 5]), key=1)])
    batch.step()
    assert (batch.passes, batch.sequence_passes, batch.padded_positions) == (1, 2, 0)
    assert batch.positions == len(prompts[0]) + len(prompts[1]) + 5
    batch.step()
    assert (batch.passes, batch.sequence_passes) == (2, 4)
    padded = batch.padded_positions
    match model:
        case PackedLanguageModel():
            assert padded == 5  # the row without drafts repeats its query for each of the other's
        case PagedLanguageModel(graphs=None):
            assert padded == 0
        case _:
            assert padded == 1  # seven tokens in the graph of eight
