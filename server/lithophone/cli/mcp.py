"""`lithophone mcp`: a tool for agents."""

from __future__ import annotations

import argparse
import asyncio
from contextlib import AsyncExitStack
from importlib.util import find_spec

from lithophone.cli.command import EXIT_DONE, Command
from lithophone.cli.opening import MODEL_SETTINGS, model_name, open_transcriber
from lithophone.errors import ConfigurationError
from lithophone.http.forms import parse_transcription_form
from lithophone.settings import Settings, add_flags
from lithophone.transcribe.transcriber import Transcriber, Wanted


def _add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--server", metavar="URL", help="let a server do it (key: LITHOPHONE_API_KEY); without this the model is loaded here")  # fmt: skip
    add_flags(parser, MODEL_SETTINGS)


def _run(settings: Settings, options: argparse.Namespace) -> int:
    if find_spec("mcp") is None:
        raise ConfigurationError("lithophone mcp needs the protocol: pip install 'lithophone[mcp]'")
    pairs = [("model", model_name(settings, options)), ("response_format", "verbose_json")]
    wanted = Wanted(form=parse_transcription_form(pairs))
    return asyncio.run(_serve(settings, wanted, options.server))


async def _serve(settings: Settings, wanted: Wanted, server: str | None) -> int:
    """Until standard input ends. Agents are answered while the model loads; what needs it waits."""
    from lithophone.doors.mcp import serve_agent  # noqa: PLC0415 - it may not be installed

    async with AsyncExitStack() as held:
        opening = asyncio.create_task(held.enter_async_context(open_transcriber(settings, wanted, server)))

        async def opened() -> Transcriber:
            return await asyncio.shield(opening)

        try:
            await serve_agent(opened)
        finally:
            opening.cancel()
            await asyncio.wait((opening,))
    return EXIT_DONE


COMMAND = Command(
    name="mcp",
    help="let agents transcribe files (Model Context Protocol)",
    description=(
        "Speak the Model Context Protocol on standard input and output, with two tools: transcribe_file and list_models. "
        "An agent's settings name this command; nobody types it."
    ),
    examples=(
        ("lithophone mcp --model granite-speech-3.3-2b", "a model in this process"),
        ("lithophone mcp --server http://127.0.0.1:8000", "a server that runs already"),
    ),
    add_flags=_add_flags,
    run=_run,
    log_level="warning",
)
