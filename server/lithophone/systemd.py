"""What systemd wants to hear of a service of `Type=notify`: that it answers, that it is alive, that it ends.

Owns the words and the socket they go to. Without that socket nothing is said.
Sources: sd_notify(3), sd_watchdog_enabled(3), systemd.service(5).
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping
from typing import Final

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"
ALIVE: Final = "WATCHDOG=1"
PATIENCE_SECONDS: Final = 1.0


class Notifier:
    """Tells systemd.

    Args:
        address: Path of its socket, or an abstract name with `@` in front; empty: nobody listens.
        watchdog_seconds: It takes the service for dead when it has heard nothing for so long; 0: it does not watch.
    """

    def __init__(self, address: str = "", watchdog_seconds: float = 0.0) -> None:
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._watchdog_seconds = watchdog_seconds

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Notifier:
        """As systemd says in the environment of a service."""
        meant = environment.get("WATCHDOG_PID", "") in {"", str(os.getpid())}
        microseconds = environment.get("WATCHDOG_USEC", "") if meant else ""
        seconds = int(microseconds) / 1e6 if microseconds.isdecimal() else 0.0
        return cls(environment.get("NOTIFY_SOCKET", ""), seconds)

    def tell(self, what: str) -> None:
        """Say it; what nobody takes within a second is lost."""
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as speaking:
            speaking.settimeout(PATIENCE_SECONDS)
            try:
                speaking.sendto(what.encode(), self._address)
            except OSError:  # nobody is there any more, or does not keep up
                return

    async def stay_alive(self) -> None:
        """Say twice in the time that the event loop runs; it does not where something blocks it."""
        while self._watchdog_seconds:
            self.tell(ALIVE)
            await asyncio.sleep(self._watchdog_seconds / 2)
