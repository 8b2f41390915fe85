"""`lithophone listen`: captions of a microphone, by a model loaded here or by a server."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from lithophone.cli.command import EXIT_DONE, Command
from lithophone.cli.opening import MODEL_SETTINGS
from lithophone.engine.dictation.options import Delay
from lithophone.errors import ConfigurationError, StartupError
from lithophone.settings import Settings, add_flags

OF_FILES: Final = frozenset(("max_audio_seconds", "word_times"))
"""Of the settings of a model what means nothing to a live session."""


def _add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", nargs="?", metavar="SOURCE", help="a WAV file, played at its own speed; - for raw 16-bit mono samples on standard input; none: the microphone")  # fmt: skip
    parser.add_argument("--format", choices=("text", "srt"), default="text", help="of what is kept (default: %(default)s)")  # fmt: skip
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="where it is kept (default: standard output)"
    )
    parser.add_argument(
        "--language", metavar="CODE", help="what is spoken: de; without it the model hears it"
    )
    parser.add_argument("--prompt", metavar="TEXT", help="names and terms likely to be said")
    parser.add_argument("--delay", choices=[str(delay.value) for delay in Delay], help="how long words are held back; longer is surer (default: medium)")  # fmt: skip
    parser.add_argument("--rate", type=int, default=24_000, metavar="HZ", help="of raw samples and the microphone (default: %(default)s)")  # fmt: skip
    parser.add_argument("--microphone", metavar="NAME", help="its number or part of its name (default: the system's choice)")  # fmt: skip
    parser.add_argument("--server", metavar="URL", help="let a server hear (key: LITHOPHONE_API_KEY); without this the model is loaded here")  # fmt: skip
    add_flags(parser, [name for name in MODEL_SETTINGS if name not in OF_FILES])


def _run(settings: Settings, options: argparse.Namespace) -> int:
    if find_spec("lithophone_client") is None:
        raise ConfigurationError(
            "lithophone listen needs the client: pip install 'lithophone-client[listen]' (in a clone: pip install './clients[listen]')"
        )
    asyncio.run(_listen(settings, options))
    return EXIT_DONE


async def _listen(settings: Settings, options: argparse.Namespace) -> None:
    """Raises StartupError: the model or the server cannot be had, or the source cannot be read."""
    from lithophone_client import LithophoneError  # noqa: PLC0415 - it may not be installed
    from lithophone_client.listening.command import Listening, listen  # noqa: PLC0415 - as above

    what = Listening(
        source=options.source,
        rate=options.rate,
        microphone=options.microphone,
        model=settings.only_model if options.server and options.model else None,
        language=options.language,
        prompt=options.prompt,
        delay=options.delay,
        subtitles=options.format == "srt",
        output=options.output,
        program="lithophone",
    )
    try:
        await listen(what, _server(settings, options.server))
    except LithophoneError as error:
        raise StartupError(str(error)) from None


@asynccontextmanager
async def _server(settings: Settings, url: str | None) -> AsyncGenerator[tuple[str, str | None]]:
    """The one at an address, or else one of this process with the model of the settings."""
    if url is not None:
        yield url, os.environ.get("LITHOPHONE_API_KEY")
        return
    from lithophone.private_server import private_server  # noqa: PLC0415 - it takes a moment to import

    async with private_server(settings) as address:
        yield address


COMMAND = Command(
    name="listen",
    help="captions while somebody speaks",
    description=(
        "Captions of a microphone, while somebody speaks: words under way in the last line, final ones kept. Ctrl-C ends the "
        "audio and waits for the last words."
    ),
    examples=(
        ("lithophone listen", "the microphone"),
        (
            "arecord -q -f S16_LE -r 24000 -c 1 -t raw | lithophone listen -",
            "what another program records",
        ),
        (
            "lithophone listen talk.wav --format srt --output talk.srt",
            "a file as if it were spoken, subtitles",
        ),
        ("lithophone listen --server http://gpu.local:8000", "by a server"),
    ),
    add_flags=_add_flags,
    run=_run,
    log_level="warning",
)
