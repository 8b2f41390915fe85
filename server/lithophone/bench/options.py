"""What can be asked of the benchmark, and how it is typed. Imports no torch: the command line reads it at once."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from lithophone.backends.device.plan import DeviceWishes

Number = TypeVar("Number", int, float)

STATED_ACCURACIES = (1.0, 0.98, 0.95, 0.9, 0.0)


class BenchOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What to measure.

    Attributes:
        model: As for the server.
        wishes: As for the server.
        revision: As for the server.
        audio: Files and folders; without any, speech that comes with the package.
        clips: Take only so many of them.
        batches: Batch sizes; none: those that memory allows.
        seconds: Length that the package's speech is joined to, and the most that is taken of a file; None: what the model hears at once, up
            to 30 s.
        tokens: With random weights, tokens of each transcript; with a checkpoint, the most.
        repeats: How often everything is run.
        accuracies: Of simulated drafts; None: the stated ones with random weights, none with a checkpoint.
        random_weights: Even where there are others.
        roofline: Measure the machine's limits and what the model's parts reach of them.
        command: As it was typed, for the report.
    """

    model: str
    wishes: DeviceWishes = DeviceWishes()
    revision: str = "main"
    audio: tuple[str, ...] = ()
    clips: int | None = None
    batches: tuple[int, ...] = ()
    seconds: float | None = None
    tokens: int | None = None
    repeats: int = 3
    accuracies: tuple[float, ...] | None = None
    random_weights: bool = False
    roofline: bool = True
    command: str = "lithophone bench"


def add_bench_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that are the benchmark's own."""
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


def read_bench_flags(
    flags: argparse.Namespace, model: str, wishes: DeviceWishes, revision: str = "main"
) -> BenchOptions:
    """The options of a command line and of the settings it shares with the server."""
    accuracies: tuple[float, ...] | None = flags.accuracy
    return BenchOptions(
        model=model,
        wishes=wishes,
        revision=revision,
        audio=tuple(flags.audio),
        clips=flags.clips,
        batches=flags.batch,
        seconds=flags.seconds,
        tokens=flags.tokens,
        repeats=flags.repeats,
        accuracies=None if accuracies is None else tuple(percent / 100 for percent in accuracies),
        random_weights=flags.random_weights,
        roofline=not flags.no_roofline,
        command=f"lithophone bench {_typed(flags, model, wishes)}".rstrip(),
    )


def _typed(flags: argparse.Namespace, model: str, wishes: DeviceWishes) -> str:
    """The command line again, as far as it is not the default."""
    usual = DeviceWishes()
    own: dict[str, Any] = {
        "--model": model,
        "--device": wishes.device if wishes.device != usual.device else None,
        "--dtype": wishes.dtype if wishes.dtype != usual.dtype else None,
        "--quantization": wishes.quantization if wishes.quantization != usual.quantization else None,
        "--cpu-threads": wishes.cpu_threads or None,
        "--audio": " ".join(flags.audio),
        "--clips": flags.clips,
        "--batch": ",".join(str(size) for size in flags.batch),
        "--seconds": flags.seconds,
        "--tokens": flags.tokens,
        "--repeats": flags.repeats,
        "--accuracy": ",".join(f"{percent:g}" for percent in flags.accuracy or ()),
    }
    typed = " ".join(f"{name} {value}" for name, value in own.items() if value not in {None, ""})
    return typed + (" --random-weights" if flags.random_weights else "")


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
