"""Ctrl-C while there is nothing to tidy up yet."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def ended_by_interrupts() -> Generator[None]:
    """Within the block Ctrl-C ends the process at once, by the system itself.

    Python's own handler waits for a library that is being loaded, and prints where it was. Whoever handles the signal
    inside of the block does so as ever; who lets it be ignored is not disturbed.
    """
    before = signal.getsignal(signal.SIGINT)
    ours = threading.current_thread() is threading.main_thread() and before is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGINT, before)
