# pyright: basic, reportMissingImports=false
"""The Model Context Protocol, by which agents use tools: transcribe a file of this machine, and say what models there are.

Written with the official SDK, which is not installed beside the tests' other packages (its `python-multipart` hides the types
of `multipart`), hence the pyright mode.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Literal

import msgspec
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

from lithophone import __version__
from lithophone.errors import LithophoneError
from lithophone.granite.family import FAMILY
from lithophone.transcribe.documents import Layout, OutputFormat, write_document
from lithophone.transcribe.transcriber import Transcriber

INSTRUCTIONS: Final = "Speech to text by IBM Granite Speech on this machine. Recordings are files here; any audio or video format."

Format = Literal["txt", "srt", "vtt", "json", "tsv"]


class ModelRow(msgspec.Struct, frozen=True, kw_only=True):
    """A model of the family, as an agent needs it to advise somebody."""

    id: str
    parameters: int
    languages: tuple[str, ...]
    translates_into: tuple[str, ...]
    answers_now: bool


def build_server(opened: Callable[[], Awaitable[Transcriber]]) -> MCPServer:
    """The server with its tools.

    Args:
        opened: Waits for the model; the first words with an agent do not.
    """
    server = MCPServer("lithophone", instructions=INSTRUCTIONS, version=__version__)

    @server.tool(
        description="Transcribe a recording: a path on this machine. json has segments, words and times."
    )
    async def transcribe_file(path: str, output_format: Format = "txt") -> str:
        try:
            transcriber = await opened()
            with await asyncio.to_thread(at_home(path).open, "rb") as file:
                transcript = await transcriber.transcribe(file, lambda _: None)
        except LithophoneError as error:
            raise ToolError(f"{path}: {error.message}") from error
        except OSError as error:
            raise ToolError(f"{path}: {error.strerror or error}") from error
        return write_document(transcript, OutputFormat(output_format), Layout(words=True)).decode()

    @server.tool(description="The models of the Granite Speech family, and which of them answers.")
    async def list_models() -> list[dict[str, object]]:
        try:
            answering = (await opened()).maker.model
        except LithophoneError as error:
            raise ToolError(error.message) from error
        return [msgspec.to_builtins(row) for row in model_rows(answering)]

    return server


async def serve_agent(opened: Callable[[], Awaitable[Transcriber]]) -> None:
    """Answer the agent on standard input and output until it leaves; `opened` as for `build_server`."""
    await build_server(opened).run_stdio_async()


def at_home(path: str) -> Path:
    """The path, `~` and all."""
    return Path(path).expanduser()


def model_rows(answering: str) -> list[ModelRow]:
    """Every model of the family, and one that is not of it but answers."""
    rows = [
        ModelRow(
            id=spec.id,
            parameters=spec.parameters,
            languages=tuple(spec.speech_languages),
            translates_into=tuple(spec.translation_targets),
            answers_now=spec.id == answering,
        )
        for spec in FAMILY.values()
    ]
    if answering not in FAMILY:
        rows.append(ModelRow(id=answering, parameters=0, languages=(), translates_into=(), answers_now=True))
    return rows
