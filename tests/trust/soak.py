"""Many clients for a long time: every format, streams, leavers, slow senders and hostile files beside them.

Owns the crowd, what it saw, and the server's memory, descriptors and children meanwhile.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx
import psutil

from tests.hostile import HOSTILE_UPLOADS
from tests.trust.scarcity import connect, slow_head, started

SPEECH: Final = Path(__file__).resolve().parents[2] / "examples" / "speech"
FORMATS: Final = ("json", "text", "srt", "vtt", "verbose_json", "stream")
LEAVERS, HOSTILE, SLOW = 0.05, 0.1, 0.02  # parts of all requests
MIB: Final = 1 << 20


@dataclass
class Seen:
    """What the crowd saw."""

    statuses: Counter[str] = field(default_factory=Counter[str])
    seconds: list[float] = field(default_factory=list[float])
    wrong: list[str] = field(default_factory=list[str])
    memory: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])


def fields(written: str) -> dict[str, str]:
    """The form of a format."""
    form = {"model": "whisper-1"}
    return form | ({"stream": "true"} if written == "stream" else {"response_format": written})


class Crowd:
    """Clients of one server."""

    def __init__(self, url: str, hostile: Sequence[tuple[str, bytes, frozenset[int]]]) -> None:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=32)
        self._url = url
        self._client = httpx.AsyncClient(base_url=url, timeout=180, limits=limits)
        self._hostile = hostile
        self._clips = {path.name: path.read_bytes() for path in sorted(SPEECH.glob("*.*g"))[:24]}
        self._serial: dict[tuple[str, str], str] = {}
        self.seen = Seen()

    async def learn(self) -> None:
        """What each clip says when nobody else asks."""
        for name in self._clips:
            for written in FORMATS:
                self._serial[name, written] = (await self._post(name, self._clips[name], written)).text

    async def client(self, number: int, end: float) -> None:
        """One of them, to the end."""
        chance = random.Random(number)  # noqa: S311 - no secret
        while time.monotonic() < end:
            kind = chance.random()
            if kind < LEAVERS:
                await self._leave(chance)
            elif kind < LEAVERS + HOSTILE:
                await self._send_hostile(chance)
            elif kind < LEAVERS + HOSTILE + SLOW:
                await self._send_slowly()
            else:
                await self._ask(chance)

    async def _post(self, name: str, data: bytes, written: str) -> httpx.Response:
        return await self._client.post(
            "/v1/audio/transcriptions", data=fields(written), files={"file": (name, data)}
        )

    async def _ask(self, chance: random.Random) -> None:
        name, written = chance.choice(sorted(self._clips)), chance.choice(FORMATS)
        begun = time.monotonic()
        response = await self._post(name, self._clips[name], written)
        self.seen.statuses[f"ordinary {response.status_code}"] += 1
        if response.status_code == 200:
            self.seen.seconds.append(time.monotonic() - begun)
            if response.text != self._serial[name, written]:
                self.seen.wrong.append(f"{name} {written}")
        elif response.status_code == 429:
            await asyncio.sleep(float(response.headers["retry-after"]))

    async def _leave(self, chance: random.Random) -> None:
        name = chance.choice(sorted(self._clips))
        with suppress(TimeoutError):
            async with asyncio.timeout(chance.random() * 0.5):
                await self._post(name, self._clips[name], "json")
        self.seen.statuses["leavers"] += 1

    async def _send_hostile(self, chance: random.Random) -> None:
        name, data, right = chance.choice(self._hostile)
        status = (await self._post(name, data, "json")).status_code
        self.seen.statuses[f"hostile {status}"] += 1
        if status not in right | {429}:
            self.seen.wrong.append(f"{name}: {status}")

    async def _send_slowly(self) -> None:
        connection = await asyncio.to_thread(connect, self._url, slow_head(self._url))
        await asyncio.sleep(3)
        connection.close()
        self.seen.statuses["slow senders"] += 1


async def watch(seen: Seen, process: psutil.Process, begun: float, end: float) -> None:
    """Memory of the server and its model's process, each second."""
    while time.monotonic() < end:
        with suppress(psutil.Error):
            everybody = [process, *process.children(recursive=True)]
            resident = sum(one.memory_info().rss for one in everybody if "ffmpeg" not in one.name())
            seen.memory.append((time.monotonic() - begun, resident))
        await asyncio.sleep(1)


def hostile_files() -> Iterator[tuple[str, bytes, frozenset[int]]]:
    """All but the largest."""
    with tempfile.TemporaryDirectory() as folder:
        for upload in HOSTILE_UPLOADS:
            data = upload.build(Path(folder))
            if len(data) < MIB:
                yield upload.filename, data, upload.statuses


def mean(values: Sequence[int]) -> float:
    """Of some."""
    return sum(values) / max(1, len(values))


def soak(minutes: float, clients: int = 64) -> None:
    """Prints what was seen."""
    with started("--max-audio-seconds", "600") as (url, process):
        asyncio.run(_soak(url, process, minutes * 60, clients))


async def _soak(url: str, process: psutil.Process, seconds: float, clients: int) -> None:
    crowd = Crowd(url, list(hostile_files()))
    await crowd.learn()
    idle = (process.num_fds(), len(process.children(recursive=True)))
    begun = time.monotonic()
    end = begun + seconds
    await asyncio.gather(
        watch(crowd.seen, process, begun, end), *(crowd.client(number, end) for number in range(clients))
    )
    seen = crowd.seen
    ordered = sorted(seen.seconds) or [0.0]
    p50, p95, p99 = (ordered[min(len(ordered) - 1, int(len(ordered) * part))] for part in (0.5, 0.95, 0.99))
    early = mean([taken for at, taken in seen.memory if seconds / 6 <= at < seconds / 3])
    late = mean([taken for at, taken in seen.memory if at >= seconds * 5 / 6])
    print(f"soak: {clients} clients for {seconds / 60:g} minutes: {dict(sorted(seen.statuses.items()))}")
    print(
        f"soak: wrong {len(seen.wrong)} {seen.wrong[:5]}; p50 {p50:.2f} s, p95 {p95:.2f} s, p99 {p99:.2f} s"
    )
    print(f"soak: memory {early / MIB:.0f} MiB in the second sixth, {late / MIB:.0f} MiB in the last one")
    for after in (1.0, 5.0):
        await asyncio.sleep(after)
        now = (process.num_fds(), len(process.children(recursive=True)))
        print(f"soak: descriptors and children before {idle}, {after:g} s later {now}")
