"""`lithophone bench`: how fast a model is here."""

from __future__ import annotations

import argparse

from lithophone.backends.heap import keep_freed_pages
from lithophone.bench.options import add_bench_flags, read_bench_flags
from lithophone.cli.command import Command
from lithophone.settings import Settings, add_flags


def _add_flags(parser: argparse.ArgumentParser) -> None:
    add_flags(parser, ("model", "revision", "device", "dtype", "quantization", "cpu_threads"))
    add_bench_flags(parser)


def _run(settings: Settings, flags: argparse.Namespace) -> int:
    options = read_bench_flags(flags, settings.only_model, settings.wishes, settings.revision)
    from lithophone.preflight import refuse_what_cannot_fit  # noqa: PLC0415 - torch takes seconds to import

    refuse_what_cannot_fit(settings.only_model, settings.wishes)
    from lithophone.bench.run import run  # noqa: PLC0415 - and transformers some more

    keep_freed_pages()
    return run(options, as_json=flags.json)


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
