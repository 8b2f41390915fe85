"""Drives the sync and the async client alike: what a test says once holds for both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from lithophone_client import AsyncLithophone, Lithophone

Handler = Callable[[httpx.Request], httpx.Response]
Ask = Callable[..., Any]


def ask_sync(answer: Handler | str, method: str, *args: Any, **options: Any) -> Any:
    with _sync_client(answer, options) as client:
        result = getattr(client, method)(*args, **options)
        return list(result) if method.startswith("stream") else result


def ask_async(answer: Handler | str, method: str, *args: Any, **options: Any) -> Any:
    return asyncio.run(_ask_async(answer, method, *args, **options))


async def _ask_async(answer: Handler | str, method: str, *args: Any, **options: Any) -> Any:
    async with _async_client(answer, options) as client:
        result = getattr(client, method)(*args, **options)
        if isinstance(result, AsyncIterator):
            return [event async for event in result]
        return await result


def _sync_client(answer: Handler | str, options: dict[str, Any]) -> Lithophone:
    settings = options.pop("client", {})
    if isinstance(answer, str):
        return Lithophone(answer, **settings)
    return Lithophone(transport=httpx.MockTransport(answer), **settings)


def _async_client(answer: Handler | str, options: dict[str, Any]) -> AsyncLithophone:
    settings = options.pop("client", {})
    if isinstance(answer, str):
        return AsyncLithophone(answer, **settings)
    return AsyncLithophone(transport=httpx.MockTransport(answer), **settings)


@pytest.fixture(params=[ask_sync, ask_async], ids=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """`ask(answer, method, *args, **options)`: the answer is a function, or the address of a server.

    `client={...}` among the options goes to the client's constructor.
    """
    return request.param
