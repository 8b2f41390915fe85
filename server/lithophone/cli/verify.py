"""`lithophone verify`: whether a model on this machine says what it should."""

from __future__ import annotations

import argparse
from pathlib import Path

from lithophone.cli.command import Command
from lithophone.settings import Settings, add_flags


def _add_flags(parser: argparse.ArgumentParser) -> None:
    add_flags(parser, ("model", "revision", "device", "dtype", "quantization"))
    parser.add_argument("--audio", action="append", default=[], type=Path, metavar="FILE", help="a recording to hear; give it several times for several")  # fmt: skip
    parser.add_argument("--text", action="append", default=[], metavar="WORDS", help="what is said in the recording, or a file that says so; one for each --audio, in their order")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="leave out the comparison with transformers in every number format")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the report as one JSON document")


def _run(settings: Settings, options: argparse.Namespace) -> int:
    from lithophone.verify.run import VerifyOptions  # noqa: PLC0415 - torch takes seconds to import
    from lithophone.verify.telling import run  # noqa: PLC0415 - as above

    asked = VerifyOptions(
        model=settings.only_model,
        revision=settings.revision,
        wishes=settings.wishes,
        audio=tuple(options.audio),
        text=tuple(_words(text) for text in options.text),
        quick=options.quick,
        command=f"lithophone verify --model {settings.only_model}",
    )
    return run(asked, as_json=options.json)


def _words(text: str) -> str:
    """What is written in a file of this name, if there is one; else the text itself."""
    try:
        return Path(text).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return text


COMMAND = Command(
    name="verify",
    help="prove that a model loads, hears and computes as it should",
    description=(
        "Run a model through the real server on recordings of which it is known what is said in them, and through transformers' "
        "own generate on the same weights, and print a page to send with a report. Takes minutes. Exit code 0 if all is well, "
        "1 if something is not, 2 if the model cannot be had."
    ),
    examples=(
        ("lithophone verify --model granite-speech-3.3-2b", "with the recording beside IBM's weights"),
        ("lithophone verify --audio me.wav --text 'what I say in it' --json", "with one of your own"),
    ),
    add_flags=_add_flags,
    run=_run,
    log_level="warning",
)
