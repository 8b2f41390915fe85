"""Clients that come and leave beside clients that stay: `python -m tests.figures.leavers --minutes 10`.

Half of the clients leave at a random moment, in the middle of the upload, of the waiting or of the stream; the others
stay, with whole answers and streams mixed. Every text of those that stay is compared with what the same clip gives alone.
Starts a server of its own in float32, where company never changes a text, unless `--url` names one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Final

import httpx
import msgspec

from tests.figures.server import running_server

SPEECH: Final = Path(__file__).resolve().parents[2] / "examples" / "speech"
ROUTE: Final = "/v1/audio/transcriptions"
LONGEST_STAY_SECONDS: Final = 0.6  # of a client that leaves: about as long as a request takes
PIECES: Final = 8  # of an upload that is cut off
WAIT_SECONDS: Final = 120.0


class Tally(msgspec.Struct):
    """What became of the clients: how many stayed and left, and what went wrong for those that stayed."""

    stayed: int = 0
    streamed: int = 0
    left: int = 0
    differing: list[str] = []
    failed: Counter[str] = msgspec.field(default_factory=Counter[str])

    @property
    def sound(self) -> bool:
        """Nobody who stayed saw anything of those that left."""
        return not self.differing and not self.failed


def clips(count: int) -> list[Path]:
    """So many clips of the examples, spread over all kinds."""
    files = [
        SPEECH / json.loads(line)["file"] for line in (SPEECH / "manifest.jsonl").read_text().splitlines()
    ]
    return files[:: max(1, len(files) // count)][:count]


class Crowd:
    """Clients of one server, each drawn from a seeded generator."""

    def __init__(self, client: httpx.AsyncClient, alone: dict[Path, str], rng: random.Random) -> None:
        self._client = client
        self._alone = alone
        self._rng = rng
        self.tally = Tally()

    async def run(self, clients: int, until: Callable[[], bool], *, half_leave: bool = True) -> None:
        """So many at a time, one after another, as long as `until` says no."""

        async def one_after_another(leaves: bool) -> None:
            while not until():
                await (self._leave() if leaves else self._stay())

        async with asyncio.TaskGroup() as group:
            for number in range(clients):
                group.create_task(one_after_another(leaves=half_leave and number % 2 == 1))

    async def _stay(self) -> None:
        path = self._rng.choice(list(self._alone))
        streams = self._rng.random() < 0.5
        self.tally.stayed += 1
        self.tally.streamed += streams
        try:
            text = await (streamed_text if streams else whole_text)(self._client, path)
        except (httpx.HTTPError, ValueError) as error:
            self.tally.failed[f"{type(error).__name__}: {error}"[:200]] += 1
            return
        if text != self._alone[path]:
            self.tally.differing.append(f"{path.name}: {text!r}, alone {self._alone[path]!r}")

    async def _leave(self) -> None:
        path = self._rng.choice(list(self._alone))
        action = self._rng.choice((whole_text, streamed_text, cut_upload))
        self.tally.left += 1
        with suppress(TimeoutError, httpx.HTTPError, ValueError):
            async with asyncio.timeout(self._rng.uniform(0.0, LONGEST_STAY_SECONDS)):
                await action(self._client, path)


async def whole_text(client: httpx.AsyncClient, path: Path) -> str:
    """The transcript of a clip, in one answer."""
    response = await client.post(ROUTE, data={"model": "whisper-1"}, files=file_of(path))
    if response.status_code != httpx.codes.OK:
        raise ValueError(f"{response.status_code} {response.text}")
    return response.json()["text"]


async def streamed_text(client: httpx.AsyncClient, path: Path) -> str:
    """The same by its events; the deltas have to join to it."""
    fields = {"model": "whisper-1", "stream": "true"}
    deltas, whole, ended = "", "", False
    async with client.stream("POST", ROUTE, data=fields, files=file_of(path)) as response:
        if response.status_code != httpx.codes.OK:
            raise ValueError(f"{response.status_code} {(await response.aread()).decode()}")
        async for line in response.aiter_lines():
            if line == "data: [DONE]":
                ended = True
            elif line.startswith("data: "):
                event = json.loads(line.removeprefix("data: "))
                deltas += event.get("delta", "")
                whole = event.get("text", whole)
    if not ended or deltas != whole:
        raise ValueError(f"a stream that ended with {whole!r} after {deltas!r}")
    return whole


async def cut_upload(client: httpx.AsyncClient, path: Path) -> str:
    """An upload in pieces, with pauses, so that leaving falls into it."""
    request = client.build_request("POST", ROUTE, data={"model": "whisper-1"}, files=file_of(path))
    body = b"".join([part async for part in request.stream])  # type: ignore[union-attr] - async in this client
    step = len(body) // PIECES + 1

    async def slowly() -> AsyncIterator[bytes]:
        for start in range(0, len(body), step):
            yield body[start : start + step]
            await asyncio.sleep(LONGEST_STAY_SECONDS / PIECES)

    response = await client.post(
        ROUTE, content=slowly(), headers={"content-type": request.headers["content-type"]}
    )
    return response.text


def file_of(path: Path) -> dict[str, tuple[str, bytes]]:
    """The form's file."""
    return {"file": (path.name, path.read_bytes())}


async def run_crowd(url: str, paths: Sequence[Path], *, clients: int, seconds: float, seed: int) -> Tally:
    """The clips alone, then the crowd for so long."""
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=WAIT_SECONDS, limits=limits) as client:
        alone = {path: await whole_text(client, path) for path in paths}
        crowd = Crowd(client, alone, random.Random(seed))  # noqa: S311 - to repeat a run
        end = time.monotonic() + seconds
        await crowd.run(clients, lambda: time.monotonic() > end)
    return crowd.tally


def main() -> int:
    """Run and print; exit code 1 where somebody who stayed was disturbed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="a server that runs already, in float32")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    serving = running_server("--dtype", "float32") if options.url is None else nullcontext(options)
    with serving as server:
        tally = asyncio.run(
            run_crowd(
                server.url,
                clips(options.clips),
                clients=options.clients,
                seconds=60 * options.minutes,
                seed=options.seed,
            )
        )
    print(
        f"{options.minutes:g} min, {options.clients} clients: {tally.stayed} requests stayed ({tally.streamed} streams), "
        f"{tally.left} left; {sum(tally.failed.values())} errors, {len(tally.differing)} differing texts"
    )
    for line in (*tally.failed.elements(), *tally.differing):
        print(f"  {line}")
    return 0 if tally.sound else 1


if __name__ == "__main__":
    sys.exit(main())
