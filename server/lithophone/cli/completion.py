"""`lithophone completion`: what a shell needs to complete commands, flags and files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any, cast

import shtab

from lithophone.cli.command import EXIT_DONE, Command
from lithophone.settings import Settings

SHELLS = ("bash", "zsh", "fish")
FILES = {"PATH": shtab.FILE, "MODEL": shtab.DIRECTORY, "DIR": shtab.DIRECTORY}
"""By metavar, arguments that are files or folders."""


def completion_command(parser: Callable[[], argparse.ArgumentParser]) -> Command:
    """The command for a parser of all commands, which is asked for when it is run."""

    def run(_: Settings, options: argparse.Namespace) -> int:
        sys.stdout.write(script(parser(), options.shell))
        return EXIT_DONE

    return Command(
        name="completion",
        help="print what a shell needs to complete commands and flags",
        description="Print a script for a shell that completes commands, flags, their values and files.",
        examples=(
            (
                "lithophone completion bash > ~/.local/share/bash-completion/completions/lithophone",
                "bash, from the next shell on",
            ),
            ('lithophone completion zsh > "${fpath[1]}/_lithophone"', "zsh"),
            ("lithophone completion fish > ~/.config/fish/completions/lithophone.fish", "fish"),
        ),
        add_flags=_add_shell,
        run=run,
    )


def _add_shell(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS, help="the shell that is to complete")


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script of a shell."""
    _mark_files(parser)
    return str(shtab.complete(parser, shell))


def _mark_files(parser: argparse.ArgumentParser) -> None:
    """Say of every argument that is a file or folder that it is one."""
    for action in parser._actions:  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - argparse shows them nowhere else
        choices: Any = action.choices
        if isinstance(choices, dict):
            for command in cast("dict[str, argparse.ArgumentParser]", choices).values():
                _mark_files(command)
        elif isinstance(action.metavar, str) and action.metavar in FILES:
            untyped: Any = action
            untyped.complete = FILES[action.metavar]
