"""A verification on the command line: what is being done while it runs, then the page."""

from __future__ import annotations

import sys

from rich.console import Console

from lithophone.backends.transformers_backend.checkpoint import read_reference
from lithophone.downloads import DownloadDisplay
from lithophone.verify.page import PAGE_WIDTH, render
from lithophone.verify.report import report_json
from lithophone.verify.run import VerifyOptions, verify

EXIT_PASSED = 0
EXIT_FAILED = 1


def run(options: VerifyOptions, *, as_json: bool) -> int:
    """Verify and print; returns the exit code.

    Raises:
        StartupError: the model cannot be had, or there is nothing to hear.
    """
    reference = read_reference(options.model, options.revision)
    with DownloadDisplay(reference.model_id) as display:
        report = verify(options, _tell, display.show)
    if as_json:
        sys.stdout.write(report_json(report) + "\n")
    else:
        console = Console()
        (console if console.is_terminal else Console(width=PAGE_WIDTH)).print(render(report, reference.spec))
    return EXIT_PASSED if report.passed else EXIT_FAILED


def _tell(what: str) -> None:
    sys.stderr.write(f"... {what}\n")
    sys.stderr.flush()
