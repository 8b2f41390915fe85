"""Being found by Home Assistant: the Wyoming door announced on the local network (mDNS, DNS-SD)."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import psutil
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

SERVICE: Final = "_wyoming._tcp.local."


def announced_addresses(host: str) -> list[str]:
    """The IPv4 addresses under which others reach a server that listens on `host`; none for the loopback address."""
    candidates = [host]
    if host == "0.0.0.0":  # noqa: S104 - compared, not bound
        candidates = [
            address.address
            for addresses in psutil.net_if_addrs().values()
            for address in addresses
            if address.family is socket.AF_INET
        ]
    return [address for address in candidates if _is_reachable(address)]


def _is_reachable(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return parsed.version == 4 and not parsed.is_loopback


@asynccontextmanager
async def announced(addresses: Sequence[str], port: int, name: str) -> AsyncGenerator[None]:
    """Announce a door until the end.

    Raises:
        OSError: the addresses are not this machine's.
    """
    info = AsyncServiceInfo(
        SERVICE,
        f"{name}.{SERVICE}",
        addresses=[socket.inet_aton(address) for address in addresses],
        port=port,
    )
    network: Any = AsyncZeroconf(interfaces=list(addresses))
    try:
        await network.async_register_service(info, allow_name_change=True)
        yield
    finally:
        await network.async_close()
