"""Damaged files of every container against a server on a real port: what it answers, and what it leaves behind.

    python -m tests.figures.fuzz_files [COUNT] [SEED] [KINDS]

KINDS is a regular expression that selects some of the kinds of files by their names.

Every file goes through upload, the real decoder and a fake model. Wrong is an answer of 500 or more, one that takes longer
than the decoder may, and any process, descriptor or connection that is left at the end.
"""

from __future__ import annotations

import random
import re
import struct
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import structlog

from lithophone.audio.decode import DecodedAudio
from lithophone.audio.ffmpeg import bundled_ffmpeg
from lithophone.http.options import HttpOptions
from tests.http.conftest import serving
from tests.oddities import FIRST, Builder, oddities, written

COUNT = 3_000
SLOW_SECONDS = 10.0  # for a second of sound; the decoder is given up after 5 without progress
HEAD_BYTES = 4_096
MAX_AUDIO_SECONDS = 120.0
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
ORDINARY = {
    "WAV": (".wav", "-ar", "44100"),
    "Wave64": (".w64",),
    "MP3": (".mp3",),
    "FLAC": (".flac",),
    "Ogg": (".ogg", "-c:a", "libvorbis"),
    "M4A": (".m4a",),
    "WebM": (".webm", "-c:a", "libopus"),
    "ADTS": (".aac",),
    "AMR": (".amr", "-ar", "8000"),
    "AIFF": (".aiff",),
    "CAF": (".caf", "-c:a", "alac"),
    "AU": (".au",),
    "AVI": (".avi", "-c:a", "mp3"),
    "TS": (".ts", "-c:a", "aac"),
    "PS": (".mpg", "-c:a", "mp2"),
    "ASF": (".wma",),
}

Mutation = Callable[[random.Random, bytearray], None]


def _flip(chance: random.Random, content: bytearray) -> None:
    for _ in range(chance.choice((1, 3, 30, 300))):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)


def _flip_head(chance: random.Random, content: bytearray) -> None:
    for _ in range(chance.choice((1, 2, 8))):
        content[chance.randrange(min(HEAD_BYTES, len(content)))] = chance.randrange(256)


def _extreme(chance: random.Random, content: bytearray) -> None:
    at = chance.randrange(min(HEAD_BYTES, len(content)))
    content[at : at + 4] = struct.pack(chance.choice("<>") + "I", chance.choice(EXTREMES))


def _overwrite(chance: random.Random, content: bytearray) -> None:
    start, stop = _range(chance, content)
    size = stop - start
    content[start:stop] = chance.choice((bytes(size), b"\xff" * size, chance.randbytes(size)))


def _take_out(chance: random.Random, content: bytearray) -> None:
    start, stop = _range(chance, content)
    del content[start:stop]


def _repeat(chance: random.Random, content: bytearray) -> None:
    start, stop = _range(chance, content)
    content[start:start] = content[start:stop]


def _cut(chance: random.Random, content: bytearray) -> None:
    del content[chance.randrange(1, len(content)) :]


def _range(chance: random.Random, content: bytearray) -> tuple[int, int]:
    start = chance.randrange(len(content))
    return start, min(len(content), start + chance.choice((1, 16, 200, 5_000)))


MUTATIONS: tuple[Mutation, ...] = (
    _flip,
    _flip_head,
    _flip_head,
    _extreme,
    _overwrite,
    _take_out,
    _repeat,
    _cut,
)


def mutated(chance: random.Random, content: bytes) -> bytes:
    """A file after one to four accidents."""
    changed = bytearray(content)
    for _ in range(chance.randrange(1, 5)):
        if changed:
            chance.choice(MUTATIONS)(chance, changed)
    return bytes(changed)


def seeds(wanted: str = "") -> dict[str, Builder]:
    """Files of every container, and all that are easily misread, if `wanted` is in their names."""
    sound = FIRST[:16_000]
    ordinary = {name: written(form[0], *form[1:], of=sound) for name, form in ORDINARY.items()}
    kinds = ordinary | {oddity.name: oddity.build for oddity in oddities()}
    return {name: build for name, build in kinds.items() if re.search(wanted, name)}


@dataclass
class Tally:
    """What came of the files."""

    answers: defaultdict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter[int]))
    warned: int = 0
    slowest: tuple[float, str] = (0.0, "")
    wrong: list[str] = field(default_factory=list[str])

    def add(self, name: str, number: int, response: httpx.Response, seconds: float) -> None:
        """An answer."""
        self.answers[name][response.status_code] += 1
        told = response.headers.get("x-lithophone-warning", "")
        self.warned += told.startswith(("file:", "audio_track:"))
        self.slowest = max(self.slowest, (seconds, f"{name}, file {number}"))
        if response.status_code >= 500 or seconds > SLOW_SECONDS:
            self.wrong.append(f"{name}, file {number}: {response.status_code} after {seconds:.1f} s")

    def __str__(self) -> str:
        total: Counter[int] = sum(self.answers.values(), Counter())
        told = ", ".join(f"{count} x {status}" for status, count in sorted(total.items()))
        return (
            f"{total.total()} files of {len(self.answers)} kinds: {told}; {self.warned} with a warning; "
            f"slowest {self.slowest[0]:.2f} s ({self.slowest[1]}); {len(self.wrong)} wrong"
        )


@dataclass(frozen=True)
class Held:
    """What a process holds."""

    children: int
    descriptors: int
    connections: int

    @classmethod
    def now(cls) -> Held:
        process = psutil.Process()
        return cls(len(process.children(recursive=True)), process.num_fds(), len(process.net_connections()))


def send(live_client: httpx.Client, content: bytes) -> httpx.Response:
    """A file to the transcription route."""
    return live_client.post(
        "/v1/audio/transcriptions",
        files={"file": ("upload", content)},
        data={"model": "whisper-1"},
        timeout=60,
    )


@contextmanager
def silent_log() -> Iterator[None]:
    """Log lines go nowhere, and no logger keeps this for later."""
    before = structlog.get_config()
    structlog.configure(
        [structlog.processors.KeyValueRenderer()],
        logger_factory=structlog.ReturnLoggerFactory(),
        cache_logger_on_first_use=False,
    )
    yield
    structlog.configure(**before)


def tally_of(kinds: dict[str, Builder], count: int, seed: int) -> tuple[Tally, str]:
    """What came of `count` damaged files, and what was left behind, if anything was."""
    bundled_ffmpeg()
    with tempfile.TemporaryDirectory() as folder:
        files = [(name, build(Path(folder))) for name, build in kinds.items()]
    tally = Tally()
    options = HttpOptions(max_audio_seconds=MAX_AUDIO_SECONDS, decode_stall_seconds=5.0)
    before = Held.now()
    with silent_log(), serving(options=options, audio_source=DecodedAudio) as live:
        for number in range(count):
            name, content = files[number % len(files)]
            chance = random.Random(f"{seed} {number}")  # noqa: S311 - test data, no secret
            started = time.monotonic()
            response = send(live.client, mutated(chance, content))
            tally.add(name, number, response, time.monotonic() - started)
    after = Held.now()
    return tally, "" if after == before else f"before: {before}; after: {after}"


def main(count: str = str(COUNT), seed: str = "1", wanted: str = "") -> int:
    """Prints the tally, and what was wrong."""
    tally, left = tally_of(seeds(wanted), int(count), int(seed))
    print(tally)
    print(f"left behind: {left or 'nothing'}")
    print("\n".join(tally.wrong))
    return len(tally.wrong) + bool(left)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
