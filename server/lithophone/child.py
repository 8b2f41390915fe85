"""The process of a worker: `python -m lithophone.child DESCRIPTOR`, which `lithophone.hosts.process` starts.

Puts the child together and owns its side of the pair of sockets. The main thread runs the worker; one thread reads commands
and answers pings, one watches that no step takes for ever. When the server is gone the socket closes, and the process
ends at once.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from functools import partial
from typing import Any, Final, NoReturn

import structlog

from lithophone.backends.base import Backend
from lithophone.backends.heap import KEPT_SECONDS, keep_freed_pages
from lithophone.hosts.description import Ping, Pong, WorkerDescription, find
from lithophone.hosts.frames import encode, read_frame
from lithophone.hub.progress import Fetched
from lithophone.logs import configure_logging
from lithophone.worker.loop import Worker
from lithophone.worker.messages import Cancel, Fetching, Recognise, Stop

log = structlog.get_logger(__name__)

EXIT_DONE: Final = 0
EXIT_STUCK: Final = 70  # EX_SOFTWARE of sysexits.h
WATCH_SECONDS: Final = 1.0
CHUNK_BYTES: Final = 1 << 20


class Line:
    """The socket to the server; several threads write to it."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._writing = threading.Lock()

    def send(self, message: object) -> None:
        """Send a message; ends the process where nobody listens any more."""
        try:
            with self._writing:
                for part in encode(message):
                    self._socket.sendall(part)
        except OSError:
            end(EXIT_DONE)

    def receive(self) -> object:
        """Wait for a message; ends the process where nobody speaks any more."""
        try:
            return read_frame(self._read)
        except (EOFError, OSError):
            end(EXIT_DONE)

    def _read(self, size: int) -> bytearray:
        data = bytearray(size)
        view, read = memoryview(data), 0
        while read < size:
            count = self._socket.recv_into(view[read:], min(size - read, CHUNK_BYTES))
            if count == 0:
                raise EOFError
            read += count
        return data


def end(code: int) -> NoReturn:
    """End the process here and now: threads in native code would abort an orderly end."""
    sys.stderr.flush()
    os._exit(code)


def main() -> NoReturn:
    """Be the worker that the server describes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    line = Line(int(sys.argv[1]))
    description = line.receive()
    if not isinstance(description, WorkerDescription):
        raise TypeError("the first message has to be the description")
    configure_logging(description.log_level, description.log_format)
    keep_freed_pages(for_seconds=KEPT_SECONDS)
    runtime = find(description.runtime)()
    worker = Worker(partial(_open, description, line), line.send, runtime)
    threading.Thread(target=_listen, args=(line, worker), daemon=True).start()
    threading.Thread(target=_watch, args=(worker,), daemon=True).start()
    worker.run()
    end(EXIT_DONE)


def _open(description: WorkerDescription, line: Line) -> Backend:
    """Modules are imported here, in the thread that loads the model, while commands are heard already."""
    named: dict[str, Any] = {} if description.room_bytes is None else {"room_bytes": description.room_bytes}
    if description.fetches:
        named["tell"] = partial(_tell, line)
    return find(description.opener)(*description.arguments, **named)


def _tell(line: Line, fetched: Fetched) -> None:
    line.send(Fetching(fetched))


def _listen(line: Line, worker: Worker) -> None:
    while True:
        message = line.receive()
        if isinstance(message, Ping):
            line.send(Pong())
        elif isinstance(message, Recognise | Cancel | Stop):
            worker.post(message)


def _watch(worker: Worker) -> None:
    while True:
        time.sleep(WATCH_SECONDS)
        if worker.watch.is_overdue:
            log.error("worker_stuck", step_seconds=round(worker.watch.step_seconds, 1))
            end(EXIT_STUCK)


if __name__ == "__main__":
    main()
