"""Live sessions cut off beside sessions that stay: `python -m tests.figures.live_leavers --cut 200 --stay 10`.

Those that stay speak utterances one after another, each sent whole and committed, and every transcript has to be one that the
same utterance gives alone. Beside them sessions are opened and cut at random: in the middle of the audio, behind a commit
or in the answer, politely or by a reset. Told is what differs, and what the server holds before and after.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import httpx
import msgspec
import psutil
import websockets

from tests.figures.deaths import Inventory, inventory
from tests.figures.live import COMPLETED, FRAME_BYTES, Utterance, append, session, utterances
from tests.figures.server import running_server

ALONE_ROUNDS: Final = 3
MOST_AT_ONCE: Final = 6
LONGEST_STAY_SECONDS: Final = 3.0
SETTLE_SECONDS: Final = 1.0
MAX_SESSIONS: Final = 64


class Tally(msgspec.Struct):
    """What became of the sessions."""

    stayed: int = 0
    cut: int = 0
    differing: list[str] = []
    failed: Counter[str] = msgspec.field(default_factory=Counter[str])


async def spoken_at_once(connection: Any, utterance: Utterance) -> str:
    """Send an utterance whole, commit it, and wait for its transcript."""
    await append(connection, utterance.pcm)
    await connection.input_audio_buffer.commit()
    async for event in connection:
        if event.type == COMPLETED:
            return event.transcript
        if event.type == "error":
            raise RuntimeError(event.error.message)
    raise RuntimeError("the session ended before its transcript")


async def texts_alone(url: str, spoken: Sequence[Utterance], delay: str) -> dict[bytes, set[str]]:
    """What each utterance gives without company, in some rounds."""
    texts: dict[bytes, set[str]] = {one.pcm: set() for one in spoken}
    for _ in range(ALONE_ROUNDS):
        async with session(url, None, delay) as connection:
            for one in spoken:
                texts[one.pcm].add(await spoken_at_once(connection, one))
    return texts


class Crowd:
    """Sessions of one server.

    Args:
        url: Of the server.
        spoken: What they say.
        delay: Of their words.
    """

    def __init__(self, url: str, spoken: Sequence[Utterance], delay: str) -> None:
        self._url = url
        self._spoken = spoken
        self._delay = delay
        self._over = asyncio.Event()
        self.tally = Tally()

    async def run(self, cuts: int, stays: int) -> Tally:
        """The utterances alone, then all sessions."""
        alone = await texts_alone(self._url, self._spoken, self._delay)
        staying = [asyncio.create_task(self._stay(alone)) for _ in range(stays)]
        await asyncio.gather(*(self._cut_often(cuts) for _ in range(MOST_AT_ONCE)))
        self._over.set()
        await asyncio.gather(*staying)
        return self.tally

    async def _stay(self, alone: Mapping[bytes, set[str]]) -> None:
        """One session that speaks until the others are through."""
        try:
            async with session(self._url, None, self._delay) as connection:
                while not self._over.is_set():
                    one = random.choice(self._spoken)  # noqa: S311 - no secret
                    self.tally.stayed += 1
                    text = await spoken_at_once(connection, one)
                    if text not in alone[one.pcm]:
                        self.tally.differing.append(f"{text!r}, alone {alone[one.pcm]}")
        except (RuntimeError, websockets.WebSocketException, OSError) as error:
            self.tally.failed[f"{type(error).__name__}: {error}"[:200]] += 1

    async def _cut_often(self, cuts: int) -> None:
        while self.tally.cut < cuts:
            self.tally.cut += 1
            await self._cut(random.Random(self.tally.cut))  # noqa: S311 - no secret

    async def _cut(self, rng: random.Random) -> None:
        """One session that ends at a random moment, half of them without a word of farewell."""
        turns = rng.choice([None, {"type": "server_vad"}])
        with suppress(websockets.WebSocketException, OSError, RuntimeError):
            async with session(self._url, turns, self._delay) as connection:
                with suppress(TimeoutError):
                    async with asyncio.timeout(rng.uniform(0.0, LONGEST_STAY_SECONDS)):
                        await _talk(connection, rng.choice(self._spoken), rng)
                if rng.random() < 0.5:
                    connection._connection.transport.abort()  # the SDK only closes politely


async def _talk(connection: Any, utterance: Utterance, rng: random.Random) -> None:
    while True:
        for start in range(0, len(utterance.pcm), FRAME_BYTES):
            await append(connection, utterance.pcm[start : start + FRAME_BYTES])
            await asyncio.sleep(rng.uniform(0.0, 0.02))
        await connection.input_audio_buffer.commit()


async def live_sessions(url: str) -> float:
    """By the server's own count."""
    async with httpx.AsyncClient() as client:
        lines = (await client.get(f"{url}/metrics")).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("lithophone_live_sessions "))


async def watched(
    url: str, pid: int, options: argparse.Namespace
) -> tuple[Tally, Inventory, Inventory, float]:
    """The crowd, and what the server holds before and after it."""
    spoken = utterances(options.utterances, url)
    before = inventory(psutil.Process(pid))
    tally = await Crowd(url, spoken, options.delay).run(options.cut, options.stay)
    await asyncio.sleep(SETTLE_SECONDS)
    return tally, before, inventory(psutil.Process(pid)), await live_sessions(url)


def main() -> None:
    """Figures as text; the exit status is 1 where something differed or was left."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cut", type=int, default=200)
    parser.add_argument("--stay", type=int, default=10)
    parser.add_argument("--delay", default="xhigh")
    parser.add_argument("--utterances", type=int, default=12)
    options = parser.parse_args()
    began = time.perf_counter()
    with running_server("--dtype", "float32", "--max-live-sessions", str(MAX_SESSIONS)) as server:
        tally, before, after, live = asyncio.run(watched(server.url, server.pid, options))
    for line in (*tally.differing, *tally.failed.items()):
        print(line)
    print(
        f"{tally.cut} sessions cut beside {options.stay} that stayed and spoke {tally.stayed} utterances in "
        f"{time.perf_counter() - began:.0f} s: {len(tally.differing)} differ, {sum(tally.failed.values())} failed"
    )
    print(f"before {before}\nafter  {after}\n{live:.0f} live sessions left")
    sys.exit(bool(tally.differing or tally.failed or live))


if __name__ == "__main__":
    main()
