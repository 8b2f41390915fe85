"""`python -m tests.hosts.orphan`: a server's process that is killed under a window; prints its worker's."""

from __future__ import annotations

import asyncio
import os
import signal

from tests.hosts.test_process import children, hosted, window


async def main() -> None:
    async with hosted("open_fake", 30.0) as host:
        await host.loaded()
        under_way = asyncio.create_task(host.open_recogniser().recognise(window()))
        await asyncio.sleep(0.2)
        print(children()[0].pid, under_way.done(), flush=True)  # noqa: T201 - read by the test
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    asyncio.run(main())
