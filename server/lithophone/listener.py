"""The socket that is listened on, and how one server takes it over from another without a refused connection.

Servers that share a port (`SO_REUSEPORT`) have a line of waiting connections each, and what waits in the line of one that
closes is lost. So a server joins only once it is ready, and one that leaves has the system send all new connections to the
newest, while it still takes what waits in its own line.
Sources: socket(7), `SO_REUSEPORT` and `SO_ATTACH_REUSEPORT_CBPF`; Linux's net/core/sock_reuseport.c: sockets are numbered in
the order in which they began to listen, and a number that is none means: any of them.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from typing import Final

from lithophone.errors import ConfigurationError

BACKLOG: Final = 2048
"""Connections that may wait to be accepted, as uvicorn has it; the system may allow fewer."""

_ATTACH_CBPF: Final = getattr(socket, "SO_ATTACH_REUSEPORT_CBPF", 51)  # Python knows its name from 3.14 on
_RETURN_CONSTANT: Final = 0x06  # BPF_RET | BPF_K
_SECOND: Final = 1  # of two, the newer one


def bound(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """The socket to listen on; one that is shared does not listen yet.

    Raises:
        ConfigurationError: the address is taken or is none, or the system cannot share it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return _shared(host, port, family) if shared else socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {host} port {port}: {error.strerror or error}") from None


def _shared(host: str, port: int, family: socket.AddressFamily) -> socket.socket:
    if not hasattr(socket, "SO_REUSEPORT"):
        raise ConfigurationError("--reuse-port: this system cannot share a port")
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host, port))
    except BaseException:
        listener.close()
        raise
    return listener


def send_new_to_newest(listener: socket.socket) -> bool:
    """Of two servers that share this socket's address the one that came last gets all new connections, now and whenever there are two.

    Returns:
        Whether the system can; without, both go on to get some until this one closes.
    """
    instruction = ctypes.create_string_buffer(struct.pack("HBBI", _RETURN_CONSTANT, 0, 0, _SECOND))
    program = struct.pack("@HP", 1, ctypes.addressof(instruction))
    try:
        listener.setsockopt(socket.SOL_SOCKET, _ATTACH_CBPF, program)
    except OSError:
        return False
    return True
