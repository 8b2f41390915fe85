"""Who a request comes from, for what is shared between clients: the name of its key, or its address."""

from __future__ import annotations

from typing import Any, Final

from litestar.connection import ASGIConnection

from lithophone.engine.fairness import Client

STATE_KEY: Final = "client"


def remember_client(connection: ASGIConnection[Any, Any, Any, Any], client: Client) -> None:
    """The key that was shown belongs to this client."""
    connection.scope["state"][STATE_KEY] = client


def client_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Client:
    """The owner of the key that was shown; without keys, whoever is at that address."""
    known = connection.scope["state"].get(STATE_KEY)
    if isinstance(known, Client):
        return known
    address = connection.client
    return Client("" if address is None else address.host)
