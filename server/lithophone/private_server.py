"""A server for this process alone, where a command needs what only HTTP gives: live sessions."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

import msgspec

from lithophone.app import build_admission, build_app, uvicorn_config
from lithophone.door import Entrances, LodgersServer
from lithophone.downloads import show_downloads
from lithophone.http.realtime.places import LivePlaces
from lithophone.listener import bound
from lithophone.model_hosts import build_models
from lithophone.settings import Settings
from lithophone.transcribe.here import started, wait_until_loaded

HOST: Final = "127.0.0.1"
UNSHARED: Final[Mapping[str, Any]] = {
    "host": HOST,
    "port": 0,
    "api_keys_file": "",
    "tls_certificate": "",
    "tls_key": "",
    "allowed_hosts": (),
    "root_path": "",
    "live_session_seconds": 7 * 86_400.0,
}
"""In place of the settings: nobody else comes, and whoever does may stay for long."""


class Address(NamedTuple):
    """Where a server is, and the key that it asks for."""

    url: str
    api_key: str


@asynccontextmanager
async def private_server(settings: Settings) -> AsyncGenerator[Address]:
    """On the loopback, behind a key that nobody else knows, once its model answers.

    Raises:
        StartupError: the model cannot be had.
    """
    key = secrets.token_urlsafe()
    private: Settings = msgspec.structs.replace(settings, **UNSHARED, api_keys=(key,))
    models = build_models(private)
    entrances = Entrances(
        build_admission(private, private.max_requests), LivePlaces(private.max_live_sessions)
    )
    with bound(HOST, 0) as listener:
        async with started(models) as host:
            showing = asyncio.create_task(show_downloads(host))
            app = await asyncio.to_thread(build_app, models, entrances, private)
            server = LodgersServer(uvicorn_config(app, private))
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            try:
                await wait_until_loaded(host)
                yield Address(f"http://{HOST}:{listener.getsockname()[1]}", key)
            finally:
                showing.cancel()
                server.should_exit = True
                await serving
