"""One voice: every command is described alike, and every example can be typed."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from lithophone.cli import COMMANDS, main, parser, with_dashes
from lithophone.cli.command import Command
from lithophone.cli.completion import SHELLS
from lithophone.cli.completion import script as completion_script


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


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_is_told_every_command_and_flag(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for command in COMMANDS:
        assert command.name in script
    assert "output-format" in script
    assert "whisper-small" in script or "alias" in script


def test_bash_completes_with_it(tmp_path: Path) -> None:
    """In bash itself: flags and their values; as much of zsh and fish as their own syntax checks say where they are installed."""
    for shell in SHELLS:
        script = tmp_path / shell
        script.write_text(completion_script(parser(), shell))
        if found := shutil.which(shell):
            subprocess.run([found, "-n", str(script)], check=True)
    asked = 'COMP_WORDS=(lithophone transcribe --output-f); COMP_CWORD=2; _shtab_lithophone; echo "${COMPREPLY[@]}"'
    done = subprocess.run(
        [shutil.which("bash") or "bash", "-c", f"source {tmp_path / 'bash'}; {asked}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["--output-format"], done.stderr
