"""The `lithophone` command.

Owns arguments and exit codes: 0 done, 2 refused with a reason. Imports torch only for the commands that need it.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from lithophone import __version__
from lithophone.backends.heap import keep_freed_pages
from lithophone.backends.rocm import read_startup_environment
from lithophone.bench.options import add_bench_flags, read_bench_flags
from lithophone.errors import StartupError
from lithophone.logs import configure_logging
from lithophone.settings import Settings, add_flags, read_settings

EXIT_REFUSED = 2
ONEDNN_CACHE = ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "32")
"""Prepared kernels torch keeps on a CPU. Each length of audio needs its own: the default, 1,024, grows memory for hours."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the console script exits with what this returns."""
    options = _parser().parse_args(arguments)
    try:
        settings = read_settings(vars(options), os.environ)
        configure_logging(settings.log_level, settings.log_format)
        os.environ.setdefault(*ONEDNN_CACHE)
        os.environ.update(read_startup_environment(os.environ))  # torch reads them when it is imported
        if options.command == "doctor":
            return _doctor(settings, as_json=options.json)
        if options.command == "bench":
            return _bench(settings, options)
        return _serve(settings)
    except StartupError as error:
        print(f"lithophone: {error.message}", file=sys.stderr)
        return EXIT_REFUSED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lithophone",
        description="Speech to text by IBM Granite behind OpenAI's audio API, on your own hardware.",
    )
    parser.add_argument("--version", action="version", version=f"lithophone {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    serve = commands.add_parser("serve", help="start the server", description="Start the server.")
    add_flags(serve)
    doctor = commands.add_parser(
        "doctor",
        help="show what this machine can run",
        description="Show device, number formats, memory, and which models of the family fit.",
    )
    add_flags(doctor, ("device", "dtype"))
    doctor.add_argument("--json", action="store_true", help="print the report as JSON")
    bench = commands.add_parser(
        "bench",
        help="measure how fast a model is here",
        description="Measure a model on this machine, beside transformers' own generate in the same run.",
    )
    add_flags(bench, ("model", "device", "dtype", "quantization", "cpu_threads"))
    add_bench_flags(bench)
    return parser


def _serve(settings: Settings) -> int:
    from lithophone.app import serve  # noqa: PLC0415 - it takes a moment to import

    keep_freed_pages()
    return serve(settings)


def _doctor(settings: Settings, *, as_json: bool) -> int:
    from lithophone import doctor  # noqa: PLC0415 - torch takes seconds to import

    return doctor.run(settings.wishes, as_json=as_json)


def _bench(settings: Settings, flags: argparse.Namespace) -> int:
    options = read_bench_flags(flags, settings.only_model, settings.wishes)
    from lithophone.preflight import refuse_what_cannot_fit  # noqa: PLC0415 - torch takes seconds to import

    refuse_what_cannot_fit(settings.only_model, settings.wishes)
    from lithophone.bench.run import run  # noqa: PLC0415 - and transformers some more

    keep_freed_pages()
    return run(options, as_json=flags.json)
