"""Two models loaded and unloaded again and again: `python -m tests.figures.unloads --cycles 20`.

One server, the embedded model and its CTC sibling. In each cycle both are loaded, answer clips at the same time, mixed, and
are unloaded. Told is the resident memory of all processes while both are loaded and after the unload, and how many texts
were not those that the model gives alone.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import httpx
import psutil

from tests.figures.leavers import ROUTE, WAIT_SECONDS, clips, file_of
from tests.figures.server import MIB, resident_bytes, running_server

MODELS: Final = ("granite-speech-tiny", "granite-speech-tiny-ctc")
WANTED_SHARE: Final = 0.02


async def text_of(client: httpx.AsyncClient, path: Path, model: str) -> str:
    """What a model hears in a clip."""
    response = await client.post(ROUTE, data={"model": model}, files=file_of(path))
    response.raise_for_status()
    return response.json()["text"]


async def tell(client: httpx.AsyncClient, verb: str) -> None:
    """Load or unload both models."""
    for model in MODELS:
        response = await client.post(f"/v1/models/{model}/{verb}")
        response.raise_for_status()


async def run(url: str, pid: int, cycles: int, paths: Sequence[Path]) -> bool:
    """All cycles; whether memory came back and every text was right."""
    server = psutil.Process(pid)
    jobs = [(path, model) for path in paths for model in MODELS]
    async with httpx.AsyncClient(base_url=url, timeout=WAIT_SECONDS) as client:
        await tell(client, "load")
        alone = [await text_of(client, path, model) for path, model in jobs]
        await tell(client, "unload")
        first = resident_bytes(server)
        print(f"after the first unload: {first / MIB:.1f} MiB in {1 + len(server.children())} process")
        wrong, last = 0, first
        for cycle in range(1, cycles + 1):
            await tell(client, "load")
            said = await asyncio.gather(*(text_of(client, path, model) for path, model in jobs))
            wrong += sum(one != other for one, other in zip(said, alone, strict=True))
            loaded = resident_bytes(server)
            await tell(client, "unload")
            last = resident_bytes(server)
            first = last if cycle == 1 else first  # the first crowd needs memory that the next ones use again
            print(f"cycle {cycle}: {loaded / MIB:.1f} MiB loaded, {last / MIB:.1f} unloaded", flush=True)
    grown = last / first - 1
    print(f"{cycles} cycles, {cycles * len(jobs)} requests: {wrong} differing texts, memory {grown:+.1%}")
    return wrong == 0 and grown <= WANTED_SHARE


def main() -> int:
    """Run and print; exit code 1 where memory stayed or a text differed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", type=int, default=20)
    parser.add_argument("--clips", type=int, default=8)
    options = parser.parse_args()
    flags = [part for model in MODELS for part in ("--model", model)]
    with running_server("--dtype", "float32", *flags) as server:
        well = asyncio.run(run(server.url, server.pid, options.cycles, clips(options.clips)))
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
