"""How a download is shown to the person who waits for it: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

import structlog
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from lithophone.hosts.base import ModelHost
from lithophone.hub.progress import Fetched

log = structlog.get_logger(__name__)

LINE_SECONDS: Final = 10.0
LOOK_SECONDS: Final = 0.5


class DownloadDisplay:
    """Shows one download, from the first news of it to the end of the block.

    Args:
        model_id: Whose.
        console: Where; standard error unless told otherwise.
        clock: Seconds that only go forward.
    """

    def __init__(
        self,
        model_id: str,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model_id = model_id
        self._console = console or Console(file=sys.stderr)
        self._clock = clock
        self._said = -LINE_SECONDS
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """Leave the bar as it is and forget it."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def show(self, fetched: Fetched) -> None:
        """The download is so far."""
        if self._console.is_terminal:
            self._move_bar(fetched)
        elif self._clock() - self._said >= LINE_SECONDS:
            self._said = self._clock()
            log.info("downloading", model=self._model_id, done=str(fetched))

    def _move_bar(self, fetched: Fetched) -> None:
        if self._bar is None:
            columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
            self._bar = Progress(TextColumn("{task.description}"), *columns, console=self._console)
            self._task = self._bar.add_task(f"downloading {self._model_id}", total=fetched.total_bytes)
            self._bar.start()
        self._bar.update(self._task, completed=fetched.done_bytes, total=fetched.total_bytes)


async def show_downloads(host: ModelHost) -> None:
    """Watch a host and show what it downloads, until the task is cancelled."""
    with DownloadDisplay(host.model_id) as display:
        while True:
            fetched = host.fetched
            if fetched is None:
                display.end()
            else:
                display.show(fetched)
            await asyncio.sleep(LOOK_SECONDS)
