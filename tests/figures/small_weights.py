"""What weights of 8 and 4 bits save in time: `python -m tests.figures.small_weights`.

Makes a model of a published shape with random weights in each mode, all in one process, and lets them take turns: hearing,
prompt and single steps of one clip, then whole transcripts in batches, with drafts of stated accuracies. Prints medians,
their range, and how many times as fast as unquantised each mode is, by the median of the ratios turn by turn. Beside transcripts
stand the passes of the language model, on average: random weights make many tokens about as likely as others, so in half
precision a mode may say something else than its draft, which was said without drafts, and go on without one.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Mapping, Sequence
from statistics import mean, median
from typing import Any

import msgspec
import torch

from lithophone.backends.device.facts import read_torch_facts
from lithophone.backends.device.plan import DeviceWishes
from lithophone.backends.device.runtime import TorchRuntime, peak_resident_bytes
from lithophone.backends.heap import keep_freed_pages
from lithophone.backends.transformers_backend.loading import weight_bytes
from lithophone.backends.transformers_backend.speech_model import SpeechModel
from lithophone.bench import BenchOptions
from lithophone.bench.clips import BenchClip, joined_clips
from lithophone.bench.opening import OpenedModel, open_model
from lithophone.bench.report import Entrant, Way
from lithophone.bench.roofline import stage_seconds
from lithophone.bench.ways import OurWay, SimulatedDrafts, TokenLimits, workload

MODES = ("none", "int8", "int4")
ACCURACIES = (0.95, 0.0)

Measured = dict[str, dict[str, list[float]]]
"""Seconds, by what was measured and by mode."""

Passes = dict[str, float]
"""Of the language model in one turn, by mode."""


def opened(model: str, mode: Any, dtype: Any, batches: tuple[int, ...]) -> OpenedModel:
    """A model in a mode, with its seconds of loading, memory and sizes printed."""
    began = time.perf_counter()
    wishes = DeviceWishes(device="cpu", dtype=dtype, quantization=mode)
    options = BenchOptions(model=model, wishes=wishes, batches=batches, random_weights=True)
    made = open_model(options, read_torch_facts())
    gc.collect()
    print(
        f"{mode}: {weight_bytes(made.model) / 1e9:.2f} GB of weights, made in {time.perf_counter() - began:.0f} s; "
        f"most memory so far {peak_resident_bytes() / 1e9:.1f} GB",
        flush=True,
    )
    return made


def parts(model: SpeechModel, clip: BenchClip) -> dict[str, float]:
    """Seconds of hearing, prompt and one step."""
    found = stage_seconds(model, clip)
    return {"hearing": found.hearing, "prompt": found.prefill, "one step": found.step}


def transcribing(
    made: OpenedModel, model: SpeechModel, clips: Sequence[BenchClip], batch: int, tokens: int
) -> dict[str, Entrant]:
    """Ways to be measured, the one without drafts first: the others draft what it said."""
    heard, limits = workload(clips, batch), TokenLimits(tokens, tokens)
    plain = Entrant(batch, Way.PLAIN, heard, OurWay(made, model, limits, lambda *_: None))
    ways = {f"batch {batch}, no drafts": plain}
    for accuracy in ACCURACIES:
        run = OurWay(made, model, limits, SimulatedDrafts(plain, accuracy, made))
        ways[f"batch {batch}, drafts {accuracy:.0%}"] = Entrant(batch, Way.SIMULATED, heard, run, accuracy)
    return ways


def timed(entrant: Entrant) -> float:
    """Seconds of one turn."""
    began = time.perf_counter()
    outcome = entrant.run(entrant.clips, entrant.batch)
    seconds = time.perf_counter() - began
    entrant.outcomes.append(msgspec.structs.replace(outcome, seconds=seconds))
    return seconds


def passes_of(entrants: Mapping[str, Entrant]) -> Passes:
    """On average."""
    return {mode: mean(outcome.passes for outcome in one.outcomes) for mode, one in entrants.items()}


def table(measured: Measured, passes: Passes | None = None) -> None:
    """One line for each thing that was measured."""
    for what, by_mode in measured.items():
        print(f"{what:24}", end="")
        for mode, seconds in by_mode.items():
            ratios = [plain / own for plain, own in zip(by_mode["none"], seconds, strict=True)]
            print(
                f" | {mode} {median(seconds):7.3f} s ({min(seconds):.3f} to {max(seconds):.3f}) x{median(ratios):.2f}",
                end="",
            )
            if passes is not None:
                print(f", {passes[mode]:.0f} passes", end="")
        print(flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="granite-speech-3.3-2b")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--modes", nargs="+", default=list(MODES))
    parser.add_argument("--batches", nargs="*", type=int, default=[1, 4])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--tokens", type=int, default=100)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    keep_freed_pages()  # as every process with a model does
    with TorchRuntime().thread():
        measure(options)


def measure(options: argparse.Namespace) -> None:
    """Parts first, then whole transcripts, each line as soon as it is known."""
    batches = tuple(options.batches)
    clips = joined_clips(max((1, *batches)), options.seconds)
    ways: dict[str, dict[str, Entrant]] = {}
    models: dict[str, SpeechModel] = {}
    for mode in options.modes:
        made = opened(options.model, mode, options.dtype, batches or (1,))
        models[mode] = SpeechModel(
            made.spec, made.model, made.processor, made.plan, windows=4, speculate=True
        )
        for batch in batches:
            for what, entrant in transcribing(made, models[mode], clips, batch, options.tokens).items():
                ways.setdefault(what, {})[mode] = entrant
    print(
        f"{options.model}, {options.dtype}, {torch.get_num_threads()} threads, {options.turns} turns",
        flush=True,
    )
    table(parts_in_turns(models, clips[0], options.turns))
    for what, by_mode in ways.items():
        turns = [{mode: timed(one) for mode, one in by_mode.items()} for _ in range(options.turns)]
        table({what: {mode: [turn[mode] for turn in turns] for mode in by_mode}}, passes_of(by_mode))


def parts_in_turns(models: Mapping[str, SpeechModel], clip: BenchClip, turns: int) -> Measured:
    """The first turn is no one's."""
    measured: Measured = {}
    for turn in range(-1, turns):
        for mode, model in models.items():
            for what, seconds in parts(model, clip).items():
                if turn >= 0:
                    measured.setdefault(what, {}).setdefault(mode, []).append(seconds)
    return measured


if __name__ == "__main__":
    main()
