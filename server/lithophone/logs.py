"""How lines are logged: one line an event on standard error, key=value or JSON.

Owns the structlog set-up. Transcripts, prompts, file names and keys are never logged by anybody.
"""

from __future__ import annotations

import io
import logging
import sys
from typing import Literal, TextIO

import structlog


def escape_controls(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Show what a terminal would obey, as a path or a host may bring it: escape sequences, new lines, changes of direction."""
    return {name: _escaped(value) if isinstance(value, str) else value for name, value in event.items()}


def _escaped(text: str, kept: str = "") -> str:
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or one in kept else one.encode("unicode_escape").decode()
        for one in text.rstrip("\n")
    )


def _plain_traceback(stream: TextIO, failure: structlog.typing.ExcInfo) -> None:
    """The rich one prints locals: transcripts."""
    written = io.StringIO()
    structlog.dev.plain_traceback(written, failure)
    stream.write(_escaped(written.getvalue(), kept="\n\t"))


def configure_logging(level: str, line_format: Literal["console", "json"]) -> None:
    """Send structlog's and the libraries' lines through the same renderer."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    renderer: list[structlog.typing.Processor] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if line_format == "json"
        else [
            escape_controls,
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                exception_formatter=_plain_traceback,
            ),
        ]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for quiet in (
        "transformers",
        "accelerate",
        "huggingface_hub",
        "httpx",
        "httpx2",
        "uvicorn.error",
        "asyncio",
    ):
        logging.getLogger(quiet).setLevel(logging.WARNING)
