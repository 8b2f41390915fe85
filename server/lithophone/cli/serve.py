"""`lithophone serve`: the server."""

from __future__ import annotations

import argparse

from lithophone.backends.heap import keep_freed_pages
from lithophone.cli.command import Command
from lithophone.settings import Settings, add_flags


def _run(settings: Settings, _: argparse.Namespace) -> int:
    from lithophone.app import serve  # noqa: PLC0415 - it takes a moment to import

    keep_freed_pages()
    return serve(settings)


COMMAND = Command(
    name="serve",
    help="start the server",
    description="Start the server. Every flag is an environment variable too; the flag wins.",
    examples=(
        ("lithophone serve", "the embedded demonstration model on http://127.0.0.1:8000"),
        (
            "lithophone serve --model granite-speech-3.3-2b --host 0.0.0.0",
            "a real model, open to the network",
        ),
    ),
    add_flags=add_flags,
    run=_run,
)
