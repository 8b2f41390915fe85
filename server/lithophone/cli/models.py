"""`lithophone models`: the models of the family, which are here, which fit."""

from __future__ import annotations

import argparse

from lithophone.cli.command import Command
from lithophone.settings import Settings, add_flags


def _add_flags(parser: argparse.ArgumentParser) -> None:
    add_flags(parser, ("device",))
    parser.add_argument("--json", action="store_true", help="print the list as JSON")


def _run(settings: Settings, options: argparse.Namespace) -> int:
    from lithophone import listing  # noqa: PLC0415 - torch takes seconds to import

    return listing.run(settings.wishes, as_json=options.json)


COMMAND = Command(
    name="models",
    help="list the models: what is downloaded, what fits here, what each can do",
    description="List the models of the family: what of them is in the cache, in which number formats each fits this machine, and what it can do.",
    examples=(("lithophone models", "the list"), ("lithophone models --json", "the same for a program")),
    add_flags=_add_flags,
    run=_run,
)
