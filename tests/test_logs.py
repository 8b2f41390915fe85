"""What a log line may hold, in processes of their own: logging is set up once for all."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Literal

import pytest

NASTY = "\x1b[31mred\x1b]0;title\x07 two\nlines \u202egnol \x9b1m \x7f"
SCRIPT = """
import logging, sys, structlog
from lithophone.logs import configure_logging
configure_logging("info", sys.argv[1])
nasty = sys.argv[2]
structlog.get_logger("x").info("request", path=nasty)
structlog.get_logger("x").info(nasty)
logging.getLogger("foreign").warning("said %s", nasty)
try:
    raise ValueError(nasty)
except ValueError as failure:
    structlog.get_logger("x").error("failed", exc_info=failure)
"""


def logged(line_format: Literal["console", "json"]) -> str:
    command = [sys.executable, "-c", SCRIPT, line_format, NASTY]
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)
    return done.stderr.decode()


@pytest.mark.parametrize("line_format", ["console", "json"])
def test_no_line_holds_what_a_terminal_obeys(line_format: Literal["console", "json"]) -> None:
    written = logged(line_format)
    assert "red" in written
    assert all(one.isprintable() or one in "\n\t" for one in written)
    first_lines = written.splitlines()[:3]
    assert all("two" in line and "lines" in line for line in first_lines)


def test_a_line_of_json_keeps_what_was_said() -> None:
    assert json.loads(logged("json").splitlines()[0])["path"] == NASTY
