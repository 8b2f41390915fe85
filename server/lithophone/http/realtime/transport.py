"""How uvicorn shall carry the sockets of live sessions: what a frame may weigh, and what becomes of a client that reads nothing.

Owns uvicorn's settings for WebSockets and the one change to its protocol.
"""

from __future__ import annotations

from typing import Any, Final

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from lithophone.http.realtime.client_events import LARGEST_FRAME_BYTES

PING_SECONDS: Final = 20.0
PONG_SECONDS: Final = 300.0
"""A session that waits for the model does not read meanwhile, pongs neither; on a slow machine for a window's time."""


class LiveSocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's, but for two things.

    To close a socket whose client does not read would wait for the client for ever. And a handshake that was refused with an
    answer of ours is complete: uvicorn would report it as an error.
    """

    async def send(self, message: ASGISendEvent) -> None:
        """Send what the application says."""
        await super().send(message)
        self.handshake_complete = self.handshake_complete or self.close_sent

    async def run_asgi(self) -> None:
        """Run the application; cut a connection that is still full afterwards."""
        await super().run_asgi()
        if not self.writable.is_set():
            self.transport.abort()


WEBSOCKETS: Final[dict[str, Any]] = {
    "ws": LiveSocketProtocol,
    "ws_max_size": LARGEST_FRAME_BYTES,
    "ws_ping_interval": PING_SECONDS,
    "ws_ping_timeout": PONG_SECONDS,
    "ws_per_message_deflate": False,  # audio in base64 costs more time than it saves bytes
}
"""What `uvicorn.Config` is given."""
