"""The page a hardware run prints: sections that survive each other's failure, within a time."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable


class Page:
    """Prints as it goes, so that a run which is cut off has said what it found.

    Args:
        most_seconds: Sections that have not begun by then are left out, and said to be.
        only: Sections that have this in their titles; "Machine" always.
    """

    def __init__(self, most_seconds: float, only: str = "") -> None:
        self._only = only
        self._deadline = time.monotonic() + most_seconds
        self.failed: list[str] = []
        self.left_out: list[str] = []

    def section(self, title: str, act: Callable[[], None], *, level: int = 2) -> None:
        """Run one section under its title; sections may be within each other."""
        if self._only not in title and title != "Machine":
            return
        if time.monotonic() > self._deadline:
            self.left_out.append(title)
            return
        self.say(f"\n{'#' * level} {title}\n")
        began = time.monotonic()
        try:
            act()
        except Exception:  # noqa: BLE001 - whatever it is, the page says it and the next section runs
            self.failed.append(title)
            self.say("FAILED\n```")
            traceback.print_exc(limit=8, file=sys.stdout)
            self.say("```")
        self.say(f"\n({time.monotonic() - began:.1f} s)")

    def table(self, heads: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
        """A table in Markdown."""
        for row in (heads, tuple("---" for _ in heads), *rows):
            self.say("| " + " | ".join(map(_written, row)) + " |")

    def say(self, line: str) -> None:
        """One line, at once."""
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    def end(self) -> int:
        """What failed and what was left out; the exit code."""
        self.say("\n## Result\n")
        self.say("failed: " + (", ".join(self.failed) or "nothing"))
        self.say("left out for lack of time: " + (", ".join(self.left_out) or "nothing"))
        return 1 if self.failed else 0


def _written(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
