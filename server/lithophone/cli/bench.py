"""`lithophone bench`: how fast a model is here."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TypeVar

from lithophone.backends.heap import keep_freed_pages
from lithophone.bench import BenchOptions
from lithophone.cli.command import EXIT_DONE, Command
from lithophone.settings import Settings, add_flags

Number = TypeVar("Number", int, float)


def _add_flags(parser: argparse.ArgumentParser) -> None:
    add_flags(parser, ("model", "revision", "device", "dtype", "quantization", "cpu_threads"))
    whole, length = _number(int, least=1), _number(float, least=0.1)
    add = parser.add_argument
    add("--audio", nargs="+", default=[], metavar="PATH", help="audio files, or folders of them; a manifest.jsonl with file and text gives word error rates (default: speech that comes with Lithophone)")  # fmt: skip
    add("--clips", type=whole, metavar="N", help="take only N of the files, spread over all")
    add("--batch", type=_list(whole), default=(), metavar="N,N", help="batch sizes (default: of 1,4,16,64 those that memory allows; 64 on a GPU)")  # fmt: skip
    add("--seconds", type=length, metavar="S", help="length that the speech is joined to, and the most taken of a file (default: what the model hears at once, up to 30)")  # fmt: skip
    add("--tokens", type=whole, metavar="N", help="with random weights the tokens of each transcript (default: 10 for 3 s), else the most")  # fmt: skip
    add("--repeats", type=whole, default=3, metavar="N", help="runs of everything, interleaved (default: 3)")
    add("--accuracy", type=_list(_number(float, least=0, most=100)), metavar="P,P", help="simulate drafts that are right in P %% of their tokens (default with random weights: 100,98,95,90,0)")  # fmt: skip
    add("--random-weights", action="store_true", help="weights of the model's shape that have learned nothing; taken anyway where the model's own are not on this machine")  # fmt: skip
    add("--no-roofline", action="store_true", help="leave out the machine's limits")
    add("--json", action="store_true", help="print the report as one JSON document")


def _number(kind: Callable[[str], Number], *, least: float, most: float = 1e9) -> Callable[[str], Number]:
    def convert(text: str) -> Number:
        value = kind(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text} is not between {least:g} and {most:g}")
        return value

    return convert


def _list(convert: Callable[[str], Number]) -> Callable[[str], tuple[Number, ...]]:
    def convert_all(text: str) -> tuple[Number, ...]:
        try:
            return tuple(convert(part) for part in text.split(","))
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers") from None

    return convert_all


def _options(settings: Settings, flags: argparse.Namespace) -> BenchOptions:
    accuracies: tuple[float, ...] | None = flags.accuracy
    return BenchOptions(
        model=settings.only_model,
        wishes=settings.wishes,
        revision=settings.revision,
        audio=tuple(flags.audio),
        clips=flags.clips,
        batches=flags.batch,
        seconds=flags.seconds,
        tokens=flags.tokens,
        repeats=flags.repeats,
        accuracies=None if accuracies is None else tuple(percent / 100 for percent in accuracies),
        random_weights=flags.random_weights,
        roofline=not flags.no_roofline,
        command=flags.typed,
    )


def _run(settings: Settings, flags: argparse.Namespace) -> int:
    from lithophone.preflight import refuse_what_cannot_fit  # noqa: PLC0415 - torch takes seconds to import

    refuse_what_cannot_fit(settings.only_model, settings.wishes)
    from lithophone.bench.run import run  # noqa: PLC0415 - and transformers some more

    keep_freed_pages()
    run(_options(settings, flags), as_json=flags.json)
    return EXIT_DONE


COMMAND = Command(
    name="bench",
    help="measure how fast a model is here",
    description="Measure a model on this machine, beside transformers' own generate in the same run.",
    examples=(
        ("lithophone bench --audio examples/speech --batch 1,4", "the embedded model on recordings"),
        (
            "lithophone bench --model granite-speech-3.3-2b --random-weights --batch 1",
            "the shape of a model that is not on this machine",
        ),
    ),
    add_flags=_add_flags,
    run=_run,
)
