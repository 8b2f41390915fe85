"""The `lithophone` command.

Owns the list of commands, what is done before each, and exit codes: 0 done, 1 done but for some recordings, 2 refused with
a reason. A command has a module of its own here and a place in `COMMANDS`. Imports torch only for the commands that need it.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
from collections.abc import Sequence
from typing import Final

from lithophone import __version__
from lithophone.backends.rocm import read_startup_environment
from lithophone.cli import bench, doctor, listen, mcp, models, pull, serve, transcribe, verify
from lithophone.cli.command import EXIT_INTERRUPTED, EXIT_REFUSED, Command, build_parser
from lithophone.cli.completion import completion_command
from lithophone.errors import StartupError
from lithophone.logs import configure_logging
from lithophone.settings import read_settings

COMMANDS: Final[tuple[Command, ...]] = (
    transcribe.COMMAND,
    listen.COMMAND,
    serve.COMMAND,
    models.COMMAND,
    pull.COMMAND,
    verify.COMMAND,
    doctor.COMMAND,
    bench.COMMAND,
    mcp.COMMAND,
    completion_command(lambda: parser()),  # noqa: PLW0108 - it is defined below
)
DESCRIPTION: Final = "Speech to text by IBM Granite behind OpenAI's audio API, on your own hardware."
KERNEL_CACHES: Final = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "32", "LRU_CACHE_CAPACITY": "64"}
"""Prepared kernels that oneDNN keeps on a CPU, and torch beside it. Every length of audio needs its own:
the default of both, 1,024, grows memory for hours, and is not faster."""

_FLAG = re.compile(r"--[a-z_]+(?=[=]|\Z)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the console script exits with what this returns."""
    typed = sys.argv[1:] if arguments is None else arguments
    options = parser().parse_args([with_dashes(argument) for argument in typed])
    options.typed = shlex.join(("lithophone", *typed))
    command = next(one for one in COMMANDS if one.name == options.command)
    try:
        return _run(command, options)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except StartupError as error:
        print(f"lithophone: {error.message}", file=sys.stderr)
        return EXIT_REFUSED


def _run(command: Command, options: argparse.Namespace) -> int:
    environment = {"LITHOPHONE_LOG_LEVEL": command.log_level, **os.environ}
    settings = read_settings(vars(options), environment)
    configure_logging(settings.log_level, settings.log_format)
    os.environ.update({**KERNEL_CACHES, **os.environ})
    os.environ.update(read_startup_environment(os.environ))  # torch reads them when it is imported
    return command.run(settings, options)


def parser() -> argparse.ArgumentParser:
    """The parser of every command."""
    return build_parser(COMMANDS, "lithophone", DESCRIPTION, __version__)


def with_dashes(argument: str) -> str:
    """A flag as it is spelt here: whisper's `--output_format` is our `--output-format`; anything else stays."""
    return (
        _FLAG.sub(lambda flag: flag[0].replace("_", "-"), argument, count=1)
        if argument[:2] == "--"
        else argument
    )
