# pyright: basic, reportMissingImports=false
"""Which replica hears a window; Ray Serve loads this wherever windows are sent from."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from ray.serve._private.request_router.pow_2_router import PowerOfTwoChoicesRequestRouter


class SessionRouter(PowerOfTwoChoicesRequestRouter):
    """Windows of a live session go where the earlier ones went, all others to the less busy of two replicas.

    Every server finds the same replica for a session, without asking; when that replica goes, only its sessions move.
    """

    async def choose_replicas(
        self, candidate_replicas: list[Any], pending_request: Any = None
    ) -> list[list[Any]]:
        """The candidates in the order they should be asked; see Ray's `RequestRouter`."""
        session = pending_request.metadata.session_id if pending_request is not None else ""
        if not session or not candidate_replicas:
            return await super().choose_replicas(candidate_replicas, pending_request)
        return [[max(candidate_replicas, key=lambda replica: _weight(session, str(replica.replica_id)))]]


def _weight(session: str, replica: str) -> bytes:
    """Highest random weight hashing (Thaler and Ravishankar, 1998)."""
    return sha256(f"{session} {replica}".encode()).digest()
