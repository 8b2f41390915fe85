"""One voice: every command is described alike, and every example can be typed."""

from __future__ import annotations

import shlex

import pytest

from lithophone.cli import COMMANDS, main, parser, with_dashes
from lithophone.cli.command import Command


def commands() -> list[pytest.param]:  # pyright: ignore[reportGeneralTypeIssues]
    return [pytest.param(command, id=command.name) for command in COMMANDS]


@pytest.mark.parametrize("command", commands())
def test_a_command_says_what_it_is_for(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([command.name, "--help"])
    assert end.value.code == 0
    page = capsys.readouterr().out
    assert "examples:" in page
    assert command.description.endswith(".")
    assert command.help[0].islower()
    assert not command.help.endswith(".")


@pytest.mark.parametrize("command", commands())
def test_every_example_can_be_typed(command: Command) -> None:
    assert command.examples
    for line, purpose in command.examples:
        words = shlex.split(line, comments=True)
        words = words[words.index("lithophone") + 1 :]
        words = words[: words.index(">")] if ">" in words else words
        assert parser().parse_args(words).command == command.name
        assert purpose


def test_flags_may_be_spelt_as_whisper_spells_them() -> None:
    typed = ["transcribe", "my_talk.mp3", "--output_format", "srt", "--max_line_width=30", "--prompt", "a_b"]
    options = parser().parse_args([with_dashes(argument) for argument in typed])
    assert (options.paths, options.output_format, options.max_line_width) == (["my_talk.mp3"], ["srt"], 30)
    assert with_dashes("--prompt=my_word --other_word") == "--prompt=my_word --other_word"
