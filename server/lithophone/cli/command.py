"""What a command is, and how all of them are described: a line of help, a paragraph, examples that can be copied."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

import msgspec

from lithophone.settings import Settings

EXIT_DONE = 0
EXIT_REFUSED = 2


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """One command of `lithophone`.

    Attributes:
        name: As it is typed.
        help: A line for the list of commands.
        description: What it does, for its own page.
        examples: Command lines and what each is for.
        add_flags: Adds its arguments to a parser.
        run: Does it with the settings and the arguments; returns the exit code.
        log_level: Least severe line logged unless the settings say otherwise.
    """

    name: str
    help: str
    description: str
    examples: tuple[tuple[str, str], ...]
    add_flags: Callable[[argparse.ArgumentParser], None]
    run: Callable[[Settings, argparse.Namespace], int]
    log_level: str = "info"

    @property
    def epilog(self) -> str:
        """The examples as `--help` shows them."""
        return "\n".join(["examples:", *(f"  {line}\n      {purpose}" for line, purpose in self.examples)])


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of examples, and gives flags room."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=30)


def build_parser(
    commands: Sequence[Command], prog: str, description: str, version: str
) -> argparse.ArgumentParser:
    """The parser of all commands; the chosen one is `command`."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description=description,
        formatter_class=HelpFormatter,
        epilog=f"`{prog} COMMAND --help` says more, with examples.",
    )
    parser.add_argument("--version", action="version", version=f"{prog} {version}")
    parsers = parser.add_subparsers(dest="command", required=True, metavar="command")
    for command in commands:
        command.add_flags(
            parsers.add_parser(
                command.name,
                help=command.help,
                description=command.description,
                epilog=command.epilog,
                formatter_class=HelpFormatter,
            )
        )
    return parser
