"""`lithophone-client listen`: captions in place on the terminal, final lines kept."""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

from lithophone_client._errors import LithophoneError
from lithophone_client._http import DEFAULT_BASE_URL
from lithophone_client.listening.captions import Caption, subtitle
from lithophone_client.listening.sources import open_source

WIRE_RATE: Final = 24_000
EXIT_REFUSED: Final = 2
_ERASE: Final = "\r\x1b[K"


@dataclass(frozen=True, slots=True)
class Listening:
    """What is listened to, what is asked of the server, and where captions go.

    Attributes:
        source: A WAV file, `-` for raw samples on standard input, None for the microphone.
        rate: Of raw samples and of the microphone.
        microphone: Its number or part of its name; None is the system's choice.
        model: None is the server's default, as for those that follow.
        subtitles: SubRip, else a line for each caption.
        output: None is standard output.
        program: Who warns.
    """

    source: str | None = None
    rate: int = WIRE_RATE
    microphone: str | None = None
    model: str | None = None
    language: str | None = None
    prompt: str | None = None
    delay: str | None = None
    subtitles: bool = False
    output: Path | None = None
    program: str = "lithophone-client"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the console script exits with what this returns: 0 done, 2 refused with a reason."""
    options = _parser().parse_args(arguments)
    what = Listening(
        source=options.source,
        rate=options.rate,
        microphone=options.device,
        model=options.model,
        language=options.language,
        prompt=options.prompt,
        delay=options.delay,
        subtitles=options.format == "srt",
        output=options.output,
    )
    try:
        asyncio.run(listen(what, nullcontext((options.url, options.api_key))))
    except LithophoneError as error:
        print(f"lithophone-client: {error}", file=sys.stderr)  # noqa: T201 - a command line prints
        return EXIT_REFUSED
    except KeyboardInterrupt:
        return 130  # the second Ctrl-C
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lithophone-client", description="Speech to text by a Lithophone server."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    listen = commands.add_parser(
        "listen",
        help="captions of a microphone or a file",
        description="Captions while somebody speaks. Ctrl-C ends it and waits for the last words.",
    )
    listen.add_argument("source", nargs="?", help="a WAV file; - for raw 16-bit mono; none: the microphone")
    listen.add_argument("--url", default=os.environ.get("LITHOPHONE_URL", DEFAULT_BASE_URL))
    listen.add_argument("--api-key", default=os.environ.get("LITHOPHONE_API_KEY"))
    listen.add_argument("--model", help="the server's default one if left out")
    listen.add_argument("--language", help="ISO-639-1 code")
    listen.add_argument("--prompt", help="names and terms that may be said")
    listen.add_argument(
        "--delay", choices=["minimal", "low", "medium", "high", "xhigh"], help="of words; longer is surer"
    )
    listen.add_argument(
        "--rate", type=int, default=WIRE_RATE, help="of raw samples and the microphone (24000)"
    )
    listen.add_argument("--device", help="number or part of the name of the microphone")
    listen.add_argument("--format", choices=["text", "srt"], default="text", help="of what is kept (text)")
    listen.add_argument("--output", type=Path, help="file for what is kept; standard output if left out")
    return parser


class Screen:
    """Where captions go: final ones to a file or standard output, words under way to the terminal, in place.

    Args:
        what: Where they go and how they are written.
        files: Closes what is opened.
    """

    def __init__(self, what: Listening, files: ExitStack) -> None:
        self._kept: TextIO = sys.stdout
        self._name = "standard output" if what.output is None else str(what.output)
        if what.output is not None:
            with _refusing(self._name):
                self._kept = what.output.open("w", encoding="utf-8")
            files.callback(_close, self._kept)
        self._in_place = sys.stderr.isatty()
        self._subtitles = what.subtitles
        self._program = what.program
        self._captions = 0

    def keep(self, caption: Caption) -> None:
        """A caption that is final.

        Raises:
            LithophoneError: it cannot be written.
        """
        self._captions += 1
        self.show("")
        with _refusing(self._name):
            self._kept.write(subtitle(self._captions, caption) if self._subtitles else f"{caption.text}\n")
            self._kept.flush()

    def warn(self, text: str) -> None:
        """Something to know of what is kept."""
        self.show("")
        print(f"{self._program}: {text}", file=sys.stderr)  # noqa: T201 - a command line prints

    def show(self, text: str) -> None:
        """Words under way: as many of the last as fit the line."""
        if self._in_place:
            columns = shutil.get_terminal_size().columns - 1
            sys.stderr.write(_ERASE + text[-columns:])
            sys.stderr.flush()


@contextmanager
def _refusing(name: str) -> Generator[None]:
    """Raises LithophoneError: it cannot be written."""
    try:
        yield
    except OSError as error:
        raise LithophoneError(f"{name} cannot be written: {error.strerror}") from error


def _close(file: TextIO) -> None:
    """Each caption was flushed; what could not be written cannot be now either, and was said."""
    with suppress(OSError):
        file.close()


async def listen(what: Listening, server: AbstractAsyncContextManager[tuple[str, str | None]]) -> None:
    """Captions until the source ends or somebody types Ctrl-C.

    Args:
        what: The source and so on, which are opened first.
        server: Its address and key, once it is there.

    Raises:
        LithophoneError: the source cannot be read, a caption cannot be written, or the server fails.
    """
    try:
        from lithophone_client.listening.session import Listener, Wishes  # noqa: PLC0415 - needs an extra
    except ImportError as error:
        raise LithophoneError(f"listening needs `lithophone-client[listen]`: {error}") from error

    with ExitStack() as files:
        screen = Screen(what, files)
        listener = Listener(
            open_source(what.source, rate=what.rate, device=what.microphone, program=what.program),
            Wishes(what.model, what.language, what.prompt, what.delay),
            caption=screen.keep,
            under_way=screen.show,
            warn=screen.warn,
        )
        async with server as (url, api_key):
            _once_on_interrupt(listener.stop)
            try:
                await listener.listen(url, api_key)
            finally:
                screen.show("")


def _once_on_interrupt(stop: Callable[[], None]) -> None:
    """The first Ctrl-C ends the audio, the second everything."""
    loop = asyncio.get_running_loop()

    def interrupted() -> None:
        loop.remove_signal_handler(signal.SIGINT)
        stop()

    with suppress(NotImplementedError, RuntimeError):  # Windows has no such thing, and threads have not
        loop.add_signal_handler(signal.SIGINT, interrupted)
