"""`lithophone doctor`: what this machine can run."""

from __future__ import annotations

import argparse

from lithophone.cli.command import Command
from lithophone.settings import Settings, add_flags


def _add_flags(parser: argparse.ArgumentParser) -> None:
    add_flags(parser, ("device", "dtype"))
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def _run(settings: Settings, options: argparse.Namespace) -> int:
    from lithophone import doctor  # noqa: PLC0415 - torch takes seconds to import

    return doctor.run(settings.wishes, as_json=options.json)


COMMAND = Command(
    name="doctor",
    help="show what this machine can run",
    description="Show device, number formats, memory, and which models of the family fit.",
    examples=(
        ("lithophone doctor", "what would be chosen here, and why"),
        ("lithophone doctor --device cpu --dtype bfloat16", "what that would mean"),
    ),
    add_flags=_add_flags,
    run=_run,
)
