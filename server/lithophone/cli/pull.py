"""`lithophone pull`: models from the hub into the cache, checked."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from lithophone.cli.command import EXIT_DONE, Command
from lithophone.errors import ConfigurationError
from lithophone.settings import Settings, add_flags

EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it


def _add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("models", nargs="+", metavar="MODEL", help="an id of the family, or a hub id")
    add_flags(parser, ("revision", "quantization", "dtype"))
    parser.add_argument("--folder", type=Path, help="with --quantization, where to write; without it MODEL-int8 or MODEL-int4 here")  # fmt: skip


def _run(settings: Settings, options: argparse.Namespace) -> int:
    from lithophone.pulling import keep_small, pull  # noqa: PLC0415 - rich and the hub's library take a moment

    small = settings.quantization != "none"
    if options.folder is not None and (not small or len(options.models) > 1):
        raise ConfigurationError("--folder is for one model with --quantization")
    try:
        for name in options.models:
            print(pull(name, settings.revision), flush=True)
            if small:
                folder = options.folder or Path(f"{Path(name).name}-{settings.quantization}")
                print(keep_small(name, settings.revision, settings.wishes, folder), flush=True)
    except KeyboardInterrupt:
        print("\nlithophone: stopped; the next pull goes on from here", file=sys.stderr, flush=True)
        os._exit(EXIT_INTERRUPTED)  # threads in the middle of a download would be waited for
    return EXIT_DONE


COMMAND = Command(
    name="pull",
    help="download a model, or go on with it, and check its files",
    description=(
        "Download the files that a model takes into the cache of the Hugging Face Hub, from where a download before broke "
        "off. The newest state of the branch is asked for, and every file is checked by its hash: damaged ones are fetched "
        "anew. HF_HOME, HF_TOKEN, HF_ENDPOINT and HF_HUB_OFFLINE mean what they mean everywhere."
    ),
    examples=(
        ("lithophone pull granite-speech-3.3-2b", "about 6 GB"),
        (
            "lithophone pull granite-speech-3.3-8b --quantization int4",
            "and a folder that loads in seconds, about 6 GB",
        ),
        (
            "lithophone pull granite-speech-4.1-2b --revision de575db64086f84fdc79da4932d1076e965bc546",
            "a state for ever",
        ),
    ),
    add_flags=_add_flags,
    run=_run,
    log_level="warning",
)
