"""A wire between a client and a server that a test can cut, or that passes for a proxy which adds a path."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Rewrite = Callable[[bytes], bytes]
"""What becomes of the head of a request, which a proxy sends on."""


def below(prefix: str, *, stripped: bool) -> Rewrite:
    """A proxy that serves the server under a path, which it strips off or not. Each connection has one request."""

    def rewrite(head: bytes) -> bytes:
        line, rest = head.split(b"\r\n", 1)
        method, path, version = line.split(b" ")
        assert path.startswith(prefix.encode()), path
        inside = path[len(prefix) :] if stripped else path
        closing = b"" if b"\r\nupgrade:" in head.lower() else b"Connection: close\r\n"
        return b" ".join((method, inside or b"/", version)) + b"\r\n" + closing + rest

    return rewrite


class Relay:
    """Passes bytes on, both ways, until it is cut; mended, it takes new connections."""

    def __init__(
        self, listener: socket.socket, target: tuple[str, int], rewrite: Rewrite | None = None
    ) -> None:
        self._rewrite = rewrite
        self._listener = listener
        self._target = target
        self._whole = True
        self._ends: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._begin(self._accept)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def cut(self) -> None:
        self._whole = False
        for end in self._ends:
            _shut(end)

    def mend(self) -> None:
        self._whole = True

    def close(self) -> None:
        self.cut()
        _shut(self._listener)
        for thread in self._threads:
            thread.join()
        for end in self._ends:
            end.close()

    def _begin(self, work: Callable[..., None], *arguments: socket.socket) -> None:
        thread = threading.Thread(target=work, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                if not self._whole:
                    near.close()
                    continue
                far = socket.create_connection(self._target)
                self._ends += near, far
                self._begin(self._pass_requests_on, near, far)
                self._begin(_pass_on, far, near)

    def _pass_requests_on(self, near: socket.socket, far: socket.socket) -> None:
        if self._rewrite is not None:
            head = b""
            while b"\r\n\r\n" not in head and (data := near.recv(65536)):
                head += data
            if head:
                far.sendall(self._rewrite(head))
        _pass_on(near, far)


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    _shut(sink)


def _shut(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


@contextmanager
def relayed(url: str, rewrite: Rewrite | None = None) -> Iterator[Relay]:
    """A wire to the server at `url`."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        relay = Relay(listener, (host, int(port)), rewrite)
        try:
            yield relay
        finally:
            relay.close()
