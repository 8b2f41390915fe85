"""`lithophone serve`: the server."""

from __future__ import annotations

import argparse

from lithophone.backends.heap import FEW_KEPT_BYTES, KEPT_SECONDS, LARGEST_KEPT_BYTES, keep_freed_pages
from lithophone.cli.command import Command
from lithophone.cli.service import ask, install
from lithophone.errors import ConfigurationError
from lithophone.interrupts import ended_by_interrupts
from lithophone.settings import Settings, add_flags


def _add_flags(parser: argparse.ArgumentParser) -> None:
    add_flags(parser)
    parser.add_argument(
        "--install-service",
        action="store_true",
        help="write a systemd user unit that starts the server with these settings; it is shown first",
    )
    parser.add_argument("--yes", action="store_true", help="with --install-service: do not ask")


def _run(settings: Settings, options: argparse.Namespace) -> int:
    if options.install_service:
        return install(settings, agreed=(lambda: True) if options.yes else ask)
    if options.yes:
        raise ConfigurationError("--yes goes with --install-service")
    largest_bytes = LARGEST_KEPT_BYTES if settings.hosts == "thread" else FEW_KEPT_BYTES
    keep_freed_pages(largest_bytes=largest_bytes, for_seconds=KEPT_SECONDS)
    if settings.hosts == "ray":  # what was begun on the cluster has to be taken back
        return _serve(settings)
    with ended_by_interrupts():  # until the server listens to them; workers end with the process
        return _serve(settings)


def _serve(settings: Settings) -> int:
    from lithophone.app import serve  # noqa: PLC0415 - it takes a moment to import

    return serve(settings)


COMMAND = Command(
    name="serve",
    help="start the server",
    description="Start the server. Every flag is an environment variable too; the flag wins.",
    examples=(
        ("lithophone serve", "the embedded demonstration model on http://127.0.0.1:8000"),
        (
            "lithophone serve --model granite-speech-3.3-2b --host 0.0.0.0 --api-keys-file keys.toml",
            "a real model, open to those on the network who have a key",
        ),
    ),
    add_flags=_add_flags,
    run=_run,
)
