"""Many clients for a long time: every format, streams and live sessions, leavers, slow senders and hostile files beside them.

Owns the crowd, what it saw, and the server's memory, descriptors, children and temporary files meanwhile. Run it where
nothing else runs: its times are the machine's.
"""

from __future__ import annotations

import asyncio
import base64
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path
from statistics import mean
from typing import Final, NamedTuple

import httpx
import psutil
from websockets.asyncio.client import connect as connect_socket

from lithophone.audio.decode import decode_audio
from tests.conftest import start_server
from tests.figures.deaths import workers_of
from tests.hostile import HOSTILE_UPLOADS, plant
from tests.recordings import run_ffmpeg
from tests.trust.scarcity import connect, slow_head

SPEECH: Final = Path(__file__).resolve().parents[2] / "examples" / "speech"
WRITTEN: Final = ("json", "text", "srt", "vtt", "verbose_json", "stream", "live")
CONTAINERS: Final = (".wav", ".mp3", ".m4a", ".webm", ".flac", ".mkv")
LEAVERS, HOSTILE, SLOW = 0.05, 0.1, 0.02  # parts of all requests
MAX_AUDIO_SECONDS: Final = 600
MINUTE_SHARE: Final = 1 / 30
"""Of the whole: figures are told of the fifth minute and of the last five, of a shorter run of as much of it."""

LARGEST_GROWTH: Final = 0.02
WARM_SECONDS: Final = 120.0
"""Of the fifth of 30 parts, if it begins later: earlier, the model still meets its first large batches."""

LARGEST_LIVE_DIFFERENCE: Final = 0.2
"""Of the characters: what a live session decides early depends on what it has heard by then, so on how busy the machine is."""

DTYPE: Final = "float32"
"""In 16 bits, which some processors choose, company may decide between two words that are about as likely."""

MIB: Final = 1 << 20
PATH: Final = "/v1/realtime?intent=transcription"
SESSION: Final = {"type": "transcription", "audio": {"input": {"format": {"type": "audio/pcm", "rate": 16_000}, "turn_detection": None}}}  # fmt: skip
FRAME_BYTES: Final = 32_000

Hostile = tuple[str, bytes, frozenset[int]]


class Memory(NamedTuple):
    """Resident bytes at a moment."""

    at_seconds: float
    server: int
    model: int

    @property
    def whole(self) -> int:
        """Of both processes."""
        return self.server + self.model


@dataclass
class Seen:
    """What the crowd saw."""

    statuses: Counter[str] = field(default_factory=Counter[str])
    seconds: list[float] = field(default_factory=list[float])
    wrong: list[str] = field(default_factory=list[str])
    memory: list[Memory] = field(default_factory=list[Memory])


@dataclass(frozen=True)
class Held:
    """What the server holds beside memory."""

    descriptors: int
    children: int
    files: int

    @classmethod
    def of(cls, process: psutil.Process, folder: Path) -> Held:
        """Now."""
        return cls(process.num_fds(), len(process.children(recursive=True)), len(list(folder.iterdir())))

    def is_within(self, other: Held) -> bool:
        """Nothing of it is more than there was."""
        return (
            self.descriptors <= other.descriptors
            and self.children <= other.children
            and self.files <= other.files
        )


def fields(written: str) -> dict[str, str]:
    """The form of a format."""
    form = {"model": "whisper-1"}
    return form | ({"stream": "true"} if written == "stream" else {"response_format": written})


def clips() -> dict[str, bytes]:
    """Some of the spoken test set, each in a container of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder, found = Path(name), dict[str, bytes]()
        for number, path in enumerate(sorted(SPEECH.glob("*.ogg"))[::8]):
            data = path.read_bytes()
            found[path.name] = data
            suffix = CONTAINERS[number % len(CONTAINERS)]
            found[path.stem + suffix] = _in_container(path, folder / f"{number}{suffix}")
        return found


def _in_container(source: Path, target: Path) -> bytes:
    run_ffmpeg("-i", str(source), str(target))
    return target.read_bytes()


async def pcm(data: bytes) -> bytes:
    """A clip as the client of a live session sends it."""
    with tempfile.TemporaryFile() as file:
        file.write(data)
        async with decode_audio(file) as stream:
            return b"".join([block async for block in stream])


def compared(written: str, said: str) -> object:
    """What must be the same whoever else asks: all but probabilities, whose last digits come of who shares a batch."""
    if written != "verbose_json":
        return said
    transcript = json.loads(said)
    for segment in transcript["segments"]:
        for name in ("avg_logprob", "no_speech_prob"):
            segment.pop(name)
    return transcript


class Crowd:
    """Clients of one server."""

    def __init__(self, url: str, clips: dict[str, bytes], hostile: Sequence[Hostile]) -> None:
        self._url = url
        self._clips = clips
        self._hostile = hostile
        self._samples: dict[str, bytes] = {}
        self._alone: dict[tuple[str, str], object] = {}
        self.seen = Seen()

    async def learn(self) -> None:
        """What each clip says when nobody else asks."""
        async with self._client() as client:
            for name, data in self._clips.items():
                self._samples[name] = await pcm(data)
                for written in WRITTEN:
                    _, said = await self._answer(client, name, written)
                    self._alone[name, written] = compared(written, said)

    async def run(self, clients: int, end: float) -> None:
        """All of them, to the end."""
        async with self._client() as client:
            await asyncio.gather(*(self._stay(client, number, end) for number in range(clients)))

    def _client(self) -> httpx.AsyncClient:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=32)
        return httpx.AsyncClient(base_url=self._url, timeout=180, limits=limits)

    async def _stay(self, client: httpx.AsyncClient, number: int, end: float) -> None:
        chance = random.Random(number)  # noqa: S311 - no secret
        while time.monotonic() < end:
            kind = chance.random()
            try:
                if kind < LEAVERS:
                    await self._leave(client, chance)
                elif kind < LEAVERS + HOSTILE:
                    await self._send_hostile(client, chance)
                elif kind < LEAVERS + HOSTILE + SLOW:
                    await self._send_slowly()
                else:
                    await self._ask(client, chance)
            except (httpx.HTTPError, OSError) as error:
                self.seen.wrong.append(f"{type(error).__name__} {error}")

    async def _post(self, client: httpx.AsyncClient, name: str, data: bytes, written: str) -> httpx.Response:
        return await client.post(
            "/v1/audio/transcriptions", data=fields(written), files={"file": (name, data)}
        )

    async def _answer(self, client: httpx.AsyncClient, name: str, written: str) -> tuple[int, str]:
        """The status, and what a clip says; of one that shall come back, when."""
        if written == "live":
            return await self._talk(name)
        response = await self._post(client, name, self._clips[name], written)
        again = response.headers.get("retry-after", "")
        return (
            response.status_code,
            again if response.status_code == httpx.codes.TOO_MANY_REQUESTS else response.text,
        )

    async def _talk(self, name: str) -> tuple[int, str]:
        """A clip in a live session."""
        samples = self._samples[name]
        async with connect_socket(self._url.replace("http", "ws") + PATH) as socket:
            await socket.send(json.dumps({"type": "session.update", "session": SESSION}))
            for start in range(0, len(samples), FRAME_BYTES):
                audio = base64.b64encode(samples[start : start + FRAME_BYTES]).decode()
                await socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
            await socket.send(json.dumps({"type": "input_audio_buffer.commit"}))
            async for message in socket:
                event = json.loads(message)
                if event["type"] == "error" or event["type"].endswith(".failed"):
                    return 500, json.dumps(event)
                if event["type"].endswith("transcription.completed"):
                    return 200, event["transcript"]
        return 500, "no end"

    async def _ask(self, client: httpx.AsyncClient, chance: random.Random) -> None:
        name, written = chance.choice(sorted(self._clips)), chance.choice(WRITTEN)
        begun = time.monotonic()
        status, said = await self._answer(client, name, written)
        self.seen.statuses[f"{'live' if written == 'live' else 'ordinary'} {status}"] += 1
        if status == httpx.codes.OK:
            self.seen.seconds.append(time.monotonic() - begun)
        if status == httpx.codes.TOO_MANY_REQUESTS:
            await asyncio.sleep(float(said))
        elif status != httpx.codes.OK or not self._is_same(written, said, self._alone[name, written]):
            self.seen.wrong.append(f"{name} {written} {status} {said[:200]}")

    def _is_same(self, written: str, said: str, alone: object) -> bool:
        if written != "live" or said == alone:
            return compared(written, said) == alone
        self.seen.statuses["live, told otherwise than alone"] += 1
        return 1 - SequenceMatcher(None, said, str(alone)).ratio() <= LARGEST_LIVE_DIFFERENCE

    async def _leave(self, client: httpx.AsyncClient, chance: random.Random) -> None:
        name = chance.choice(sorted(self._clips))
        with suppress(TimeoutError):
            async with asyncio.timeout(chance.random() * 0.5):
                await self._answer(client, name, chance.choice(WRITTEN))
        self.seen.statuses["leavers"] += 1

    async def _send_hostile(self, client: httpx.AsyncClient, chance: random.Random) -> None:
        name, data, right = chance.choice(self._hostile)
        status = (await self._post(client, name, data, "json")).status_code
        self.seen.statuses[f"hostile {status}"] += 1
        if status not in right | {429}:
            self.seen.wrong.append(f"{name}: {status}")

    async def _send_slowly(self) -> None:
        connection = await asyncio.to_thread(connect, self._url, slow_head(self._url))
        await asyncio.sleep(3)
        connection.close()
        self.seen.statuses["slow senders"] += 1


async def watch(seen: Seen, process: psutil.Process, begun: float, end: float) -> None:
    """Memory of the server and its model's process, each second; a decoder just forked still looks like the server."""
    while time.monotonic() < end:
        with suppress(psutil.Error, ValueError):
            (worker,) = workers_of(process)
            server, model = process.memory_info().rss, worker.memory_info().rss
            seen.memory.append(Memory(time.monotonic() - begun, server, model))
        await asyncio.sleep(1)


def hostile_files() -> Iterator[Hostile]:
    """All but the largest."""
    with tempfile.TemporaryDirectory() as folder:
        plant(Path(folder))
        for upload in HOSTILE_UPLOADS:
            data = upload.build(Path(folder))
            if len(data) < MIB:
                yield upload.filename, data, upload.statuses


def soak(minutes: float, clients: int = 64) -> None:
    """Prints what was seen.

    Raises:
        SystemExit: something was not as promised.
    """
    files, hostile = clips(), list(hostile_files())
    with tempfile.TemporaryDirectory() as folder:
        flags = ("--max-audio-seconds", str(MAX_AUDIO_SECONDS), "--log-level", "warning", "--dtype", DTYPE)
        process, url = start_server(*flags, environment={"TMPDIR": folder})
        with process:
            try:
                crowd = Crowd(url, files, hostile)
                broken = asyncio.run(
                    _soak(crowd, psutil.Process(process.pid), Path(folder), minutes * 60, clients)
                )
            finally:
                process.terminate()
                process.wait(timeout=60)
    if broken:
        raise SystemExit(f"soak: not as promised: {', '.join(broken)}")


async def _soak(
    crowd: Crowd, process: psutil.Process, folder: Path, seconds: float, clients: int
) -> list[str]:
    await crowd.learn()
    await asyncio.sleep(1)
    idle = Held.of(process, folder)
    begun = time.monotonic()
    end = begun + seconds
    watching = asyncio.create_task(watch(crowd.seen, process, begun, end))
    await crowd.run(clients, end)
    await watching
    await asyncio.sleep(1)
    after = Held.of(process, folder)
    print(f"soak: idle {idle}, 1 s after the end {after}")
    return [
        *(["wrong answers"] if _told(crowd.seen, seconds, clients) else []),
        *(["memory"] if _growth(crowd.seen, seconds) > LARGEST_GROWTH else []),
        *([] if after.is_within(idle) else ["something left"]),
    ]


def _told(seen: Seen, seconds: float, clients: int) -> int:
    """Prints statuses, texts and times; how many were wrong."""
    ordered = sorted(seen.seconds) or [0.0]
    p50, p95, p99 = (ordered[min(len(ordered) - 1, int(len(ordered) * part))] for part in (0.5, 0.95, 0.99))
    print(f"soak: {clients} clients for {seconds / 60:g} minutes: {dict(sorted(seen.statuses.items()))}")
    print(f"soak: wrong {len(seen.wrong)} {Counter(seen.wrong).most_common(5)}")
    print(f"soak: {len(ordered)} answers, p50 {p50:.2f} s, p95 {p95:.2f} s, p99 {p99:.2f} s")
    return len(seen.wrong)


def _growth(seen: Seen, seconds: float) -> float:
    """Prints the memory of the fifth minute and of the last five, of 30; by what part it grew."""
    minute = seconds * MINUTE_SHARE
    early = [one for one in seen.memory if 4 * minute <= one.at_seconds < 5 * minute]
    late = [one for one in seen.memory if one.at_seconds >= 25 * minute]
    if not early or not late:
        print("soak: too short to tell of memory")
        return 0.0
    growth = mean(one.whole for one in late) / mean(one.whole for one in early) - 1
    for name in ("server", "model"):
        before, after = (mean(getattr(one, name) for one in part) / MIB for part in (early, late))
        print(f"soak: {name}'s memory {before:.0f} MiB, then {after:.0f}")
    is_warm = 4 * minute >= WARM_SECONDS
    print(
        f"soak: memory in the last five of 30 parts by that in the fifth: "
        f"{100 * growth:+.1f} %{'' if is_warm else ', too early to tell'}"
    )
    return growth if is_warm else 0.0
