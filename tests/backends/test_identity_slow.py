"""Our tokens against plain greedy decoding by transformers over hundreds of utterances, in every company.

`python -m tests.backends.test_identity_slow --help` runs the same as a script, on more speech if there is some, and
prints what the drafts saved.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import pytest
import soundfile
import torch

from lithophone.backends.base import Recognition, RecognitionRequest, Samples
from lithophone.backends.device.facts import read_torch_facts
from lithophone.backends.device.plan import DevicePlan
from lithophone.backends.gpu.passes import PagedLanguageModel, PoolSize
from lithophone.backends.transformers_backend import speech_model
from lithophone.backends.transformers_backend.checkpoint import Checkpoint, fetch, read_reference
from lithophone.backends.transformers_backend.speech import SpeechBackend
from lithophone.granite.family import DEMONSTRATION_ID
from tests.backends.conftest import cpu_plan, transcribed
from tests.backends.gpu.plain_kernels import PlainKernels
from tests.backends.reference import Reference

SPEECH = Path(__file__).resolve().parents[2] / "examples" / "speech"
RATE = 16_000
LONGEST_SECONDS = 30
LEAST = 500
BATCH = 16


class Way(NamedTuple):
    """How utterances are run: so many at a time, with drafts or without, by the GPUs' decoder or by transformers' layers."""

    batch: int
    drafts: bool
    paged: bool = False


WAYS = {
    "alone, drafts": Way(1, drafts=True),
    "alone, plain": Way(1, drafts=False),
    "batch, drafts": Way(BATCH, drafts=True),
    "batch, plain": Way(BATCH, drafts=False),
    "alone, drafts, pages": Way(1, drafts=True, paged=True),
    "batch, drafts, pages": Way(BATCH, drafts=True, paged=True),
    "batch, plain, pages": Way(BATCH, drafts=False, paged=True),
}


class Utterance(NamedTuple):
    """A clip and how it came about."""

    kind: str
    samples: Samples


class Outcome(NamedTuple):
    """Of one way of running one kind of utterance."""

    utterances: int
    different: int
    tokens: int
    passes: int
    drafted: int
    accepted: int


def read(path: Path) -> Samples:
    samples, rate = soundfile.read(path, dtype="float32")
    if rate != RATE or samples.ndim != 1:
        raise ValueError(f"{path} is not 16 kHz mono")
    return np.asarray(samples[: LONGEST_SECONDS * RATE], np.float32)


def example_utterances(count: int) -> Iterator[Utterance]:
    """The examples as they are, then slices, pairs and noisy versions of them until there are `count`."""
    entries = [json.loads(line) for line in (SPEECH / "manifest.jsonl").read_text().splitlines()]
    clips = [(entry["kind"], read(SPEECH / entry["file"])) for entry in entries]
    for kind, samples in clips:
        yield Utterance("noisy" if kind == "noisy" else "clean", samples)
    rng = np.random.default_rng(20)
    for number in range(count - len(clips)):
        first, second = (clips[i][1] for i in rng.integers(len(clips), size=2))
        match number % 3:
            case 0:
                length = int(rng.uniform(0.3, 6.0) * RATE)
                start = int(rng.integers(max(1, len(first) - length)))
                yield Utterance("slice", first[start : start + length])
            case 1:
                yield Utterance("pair", np.concatenate([first, second])[: LONGEST_SECONDS * RATE])
            case _:
                noise = rng.normal(0.0, float(np.std(first)) * 10 ** (-rng.uniform(0, 15) / 20), len(first))
                yield Utterance("noisy", (first + noise).astype(np.float32))


def table_utterances(table: Path, count: int) -> Iterator[Utterance]:
    """The first clips of a table with a head line whose first column names audio files, relative to it."""
    for line in table.read_text().splitlines()[1 : count + 1]:
        yield Utterance("table", read(table.parent / line.split("\t")[0]))


def differing(
    backend: SpeechBackend, utterances: Sequence[Utterance], expected: Sequence[list[int]], batch: int
) -> dict[str, Outcome]:
    """Run everything in batches as it comes; per kind of utterance, what came of it."""
    found: list[Recognition] = []
    for start in range(0, len(utterances), batch):
        requests = [RecognitionRequest(samples=u.samples) for u in utterances[start : start + batch]]
        found += transcribed(backend, *requests)
    outcomes: dict[str, Outcome] = {}
    for utterance, recognition, tokens in zip(utterances, found, expected, strict=True):
        one = Outcome(
            utterances=1,
            different=[token.id for token in recognition.tokens] != tokens[: len(recognition.tokens)]
            or (not recognition.truncated and len(recognition.tokens) != len(tokens)),
            tokens=len(recognition.tokens) + (not recognition.truncated),
            passes=recognition.passes,
            drafted=recognition.drafted_tokens,
            accepted=recognition.accepted_tokens,
        )
        before = outcomes.get(utterance.kind, Outcome(0, 0, 0, 0, 0, 0))
        outcomes[utterance.kind] = Outcome(*(a + b for a, b in zip(before, one, strict=True)))
    return outcomes


def expected_tokens(reference: Reference, utterances: Sequence[Utterance]) -> list[list[int]]:
    """transformers' answers, with the same limit on tokens as the backend's."""
    return [reference.tokens(u.samples, most=64 + round(len(u.samples) / RATE * 14)) for u in utterances]


def compare(utterances: Sequence[Utterance], plan: DevicePlan) -> dict[str, dict[str, Outcome]]:
    """For each way of running, per kind of utterance, what came of it."""
    torch.set_num_threads(plan.cpu_threads)
    checkpoint = fetch(read_reference(DEMONSTRATION_ID))
    expected = expected_tokens(Reference(checkpoint.path, DEMONSTRATION_ID), utterances)
    return {
        name: differing(opened(checkpoint, plan, way), utterances, expected, way.batch)
        for name, way in WAYS.items()
    }


def opened(checkpoint: Checkpoint, plan: DevicePlan, way: Way) -> SpeechBackend:
    """The backend of a way; its pages are computed by plain operations where a GPU has kernels."""
    facts = read_torch_facts()
    if not way.paged:
        return SpeechBackend(checkpoint, plan, facts, speculate=way.drafts)
    with patch.object(speech_model, "paged_language_model", plain_pages):
        return SpeechBackend(checkpoint, plan, facts, speculate=way.drafts)


def plain_pages(model: Any, _: DevicePlan, windows: int) -> PagedLanguageModel:
    """See `lithophone.backends.gpu.opening.paged_language_model`."""
    size = PoolSize(slots=windows + 1, pages=1 + (windows + 1) * 16, slot_pages=16)
    return PagedLanguageModel(model, PlainKernels(), size, graphs=False)


@pytest.mark.slow
def test_five_hundred_utterances_get_the_tokens_of_plain_greedy_decoding(plan: DevicePlan) -> None:
    found = compare(list(example_utterances(LEAST + 20)), plan)
    assert set(found) == set(WAYS)
    for outcomes in found.values():
        assert sum(outcome.utterances for outcome in outcomes.values()) >= LEAST
        assert sum(outcome.tokens for outcome in outcomes.values()) > LEAST
        assert sum(outcome.different for outcome in outcomes.values()) == 0


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--utterances", type=int, default=LEAST + 20, help="from the examples")
    parser.add_argument("--speech", type=Path, help="a table of more audio files")
    parser.add_argument("--more", type=int, default=500, help="how many of them")
    options = parser.parse_args()
    utterances = list(example_utterances(options.utterances))
    if options.speech:
        utterances += table_utterances(options.speech, options.more)
    plan = cpu_plan(read_torch_facts(), "float32")
    for way, outcomes in compare(utterances, plan).items():
        for kind, o in sorted(outcomes.items()):
            print(  # noqa: T201 - a script
                f"{way:14} {kind:6} {o.utterances:4} utterances, {o.different} different, {o.tokens:6} tokens, "
                f"{100 * o.passes / o.tokens:5.1f} passes per 100 tokens, "
                f"{o.accepted} of {o.drafted} drafted tokens accepted"
            )


if __name__ == "__main__":
    main()
