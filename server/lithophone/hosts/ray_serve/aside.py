"""Blocking calls beside the event loop, in a thread that lasts as long as the process.

asyncio's own threads will not do: they are waited for at the end, and a lost cluster keeps one for a minute. Nor will a thread
for each call: the kernel ends the processes of a local cluster with the thread that started them (`PR_SET_PDEATHSIG`).
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


class Aside:
    """One call after another."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def do(self, work: Callable[[], T]) -> T:
        """Call `work` there and wait for what it returns or raises."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="lithophone-ray", daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        self._calls.put(lambda: _settle(loop, done, work))
        return await done

    def _run(self) -> None:
        while True:
            self._calls.get()()


def _settle(loop: asyncio.AbstractEventLoop, done: asyncio.Future[T], work: Callable[[], T]) -> None:
    """In the thread; an answer that nobody waits for any more is dropped."""
    try:
        answer = work()
    except Exception as error:  # noqa: BLE001 - raised where it is waited for
        _tell(loop, done, lambda raised=error: done.set_exception(raised))
    else:
        _tell(loop, done, lambda: done.set_result(answer))


def _tell(loop: asyncio.AbstractEventLoop, done: asyncio.Future[Any], settle: Callable[[], None]) -> None:
    with suppress(RuntimeError):  # the loop has closed
        loop.call_soon_threadsafe(lambda: None if done.done() else settle())
