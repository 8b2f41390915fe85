"""Work that ends when the client leaves.

Litestar cancels a stream whose client has gone, but not a handler that is still working on its answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from litestar.types import Receive

from lithophone.errors import RequestCancelledError

Result = TypeVar("Result")


async def unless_disconnected(receive: Receive, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of `work`. The request's body must have been read to its end.

    Raises:
        RequestCancelledError: the client left first; `work` was cancelled and has ended.
    """
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_disconnection(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise RequestCancelledError("The client left before the answer.")
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _disconnection(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
