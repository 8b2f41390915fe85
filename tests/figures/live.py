"""What live captions are worth on this machine: `python -m tests.figures.live --help`.

`paced` speaks utterances of the spoken test set in real time, through OpenAI's Python SDK, to a server that is started for
it, at each `delay`, in one session and in several at once. `hour` speaks for an hour as fast as the server takes it, in one
session, and watches its memory, its times and its cost. Both print figures; nothing is asserted.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import itertools
import time
import wave
from bisect import bisect_right
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Any, Final, NamedTuple

import httpx
import numpy as np
import psutil
import soxr  # pyright: ignore[reportMissingTypeStubs]
from openai import AsyncOpenAI

from lithophone.audio.waveform import SAMPLE_RATE, Waveform, pcm16_from_waveform
from lithophone.bench.report import edit_distance
from tests.figures.recording import SPEECH, manifest_clips, samples_of
from tests.figures.scoring import normalised
from tests.figures.server import MIB, ServerProcess, resident_bytes, running_server

WIRE_RATE: Final = 24_000
FRAME_SECONDS: Final = 0.05
FRAME_BYTES: Final = round(WIRE_RATE * FRAME_SECONDS) * 2
CLIPS_TOGETHER: Final = 2
LEAST_CLIP_SECONDS: Final = 1.6
LEVELS: Final = ("minimal", "low", "medium", "high", "xhigh")
PAUSE_SECONDS: Final = 0.6
HOUR_SECONDS: Final = 3600.0
MARKS: Final = 12
DELTA: Final = "conversation.item.input_audio_transcription.delta"
COMPLETED: Final = "conversation.item.input_audio_transcription.completed"


class FileWord(NamedTuple):
    """A word as the file route heard it, and where it ends, in seconds."""

    text: str
    end: float


@dataclass(frozen=True, slots=True)
class Utterance:
    """What is spoken: its text, its PCM at 24 kHz, and what the file route makes of it."""

    text: str
    pcm: bytes
    heard: tuple[FileWord, ...] = ()

    @property
    def seconds(self) -> float:
        return len(self.pcm) / 2 / WIRE_RATE


@dataclass(slots=True)
class Told:
    """What a session told of one utterance: words with the second of the utterance they came at, and what ended it."""

    utterance: Utterance
    words: list[tuple[str, float]] = field(default_factory=list[tuple[str, float]])
    deltas: str = ""
    transcript: str = ""
    finished: float = 0.0


def utterances(count: int, url: str) -> list[Utterance]:
    """Pairs of clips one behind the other, in a fixed order, and what the file route hears in each."""
    clips = [
        clip
        for clip in manifest_clips(SPEECH, ["short"])
        if len(samples_of(clip.path)) > LEAST_CLIP_SECONDS * SAMPLE_RATE
    ]
    order = np.random.default_rng(3).permutation(len(clips)).tolist()
    pairs = [
        [clips[place] for place in order[start : start + CLIPS_TOGETHER]]
        for start in range(0, len(order) - 1, CLIPS_TOGETHER)
    ]
    spoken = [
        Utterance(
            " ".join(clip.text for clip in pair),
            at_wire_rate(np.concatenate([samples_of(clip.path) for clip in pair])),
        )
        for pair in pairs[:count]
    ]
    return [Utterance(one.text, one.pcm, file_words(url, one.pcm)) for one in spoken]


def at_wire_rate(samples: Waveform) -> bytes:
    """PCM16 at 24 kHz of float32 [samples] at 16 kHz."""
    return pcm16_from_waveform(soxr.resample(samples, SAMPLE_RATE, WIRE_RATE).astype(np.float32))


def file_words(url: str, pcm: bytes) -> tuple[FileWord, ...]:
    """What the file route hears in the same samples."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(WIRE_RATE)
        file.writeframes(pcm)
    fields = {"model": "whisper-1", "response_format": "verbose_json", "timestamp_granularities[]": "word"}
    response = httpx.post(
        f"{url}/v1/audio/transcriptions", data=fields, files={"file": buffer.getvalue()}, timeout=120
    )
    response.raise_for_status()
    return tuple(FileWord(word["word"], word["end"]) for word in response.json()["words"])


@asynccontextmanager
async def session(url: str, turns: Any, delay: str) -> AsyncIterator[Any]:
    """A transcription session of the official SDK, configured."""
    client = AsyncOpenAI(base_url=f"{url}/v1", api_key="none")
    configuration: Any = {
        "type": "transcription",
        "audio": {
            "input": {
                "format": {"type": "audio/pcm", "rate": WIRE_RATE},
                "transcription": {"model": "gpt-live-transcribe", "delay": delay},
                "turn_detection": turns,
            }
        },
    }
    async with client.realtime.connect(extra_query={"intent": "transcription"}) as connection:
        await connection.session.update(session=configuration)
        yield connection


async def speak(url: str, spoken: Sequence[Utterance], delay: str, start_after: float = 0.0) -> list[Told]:
    """Speak utterances in real time, each committed at its end; returns what was told of each."""
    await asyncio.sleep(start_after)
    told: list[Told] = []
    async with session(url, None, delay) as connection:
        told += [await _speak_one(connection, utterance) for utterance in spoken]
    return told


async def _speak_one(connection: Any, utterance: Utterance) -> Told:
    told = Told(utterance)
    began = time.perf_counter()
    hearing = asyncio.create_task(_hear_one(connection, told, began))
    for start in range(0, len(utterance.pcm), FRAME_BYTES):
        frame = utterance.pcm[start : start + FRAME_BYTES]
        spoken_until = began + (start + len(frame)) / 2 / WIRE_RATE
        await asyncio.sleep(max(0.0, spoken_until - time.perf_counter()))
        await append(connection, frame)
    await connection.input_audio_buffer.commit()
    await hearing
    return told


async def append(connection: Any, pcm: bytes) -> None:
    """Send PCM."""
    await connection.input_audio_buffer.append(audio=base64.b64encode(pcm).decode())


async def _hear_one(connection: Any, told: Told, began: float) -> None:
    async for event in connection:
        now = time.perf_counter() - began
        if event.type == DELTA:
            told.deltas += event.delta
            told.words += [(word, now) for word in event.delta.split()]
        elif event.type == COMPLETED:
            told.transcript, told.finished = event.transcript, now
            return
        elif event.type == "error":
            raise RuntimeError(event.error.message)


class Figures(NamedTuple):
    """Of one level and one number of sessions."""

    words: int
    differing: int
    taken_back: int
    delays: list[float]
    finals: list[float]
    live_errors: int
    file_errors: int
    reference_words: int

    def row(self) -> str:
        p50, p95 = np.percentile(self.delays or [float("nan")], [50, 95])  # nothing was told before the end
        end50, end95 = np.percentile(self.finals, [50, 95])
        return (
            f"{self.words} | {100 * self.differing / self.words:.2f} % | {self.taken_back} | {p50:.2f} s | {p95:.2f} s | "
            f"{end50:.2f} / {end95:.2f} s | {100 * self.live_errors / self.reference_words:.2f} % | "
            f"{100 * self.file_errors / self.reference_words:.2f} %"
        )


def figures(told: Sequence[Told]) -> Figures:
    """What the sessions told, beside the file route and what was said."""
    pairs = [(normalised(one.deltas), [bare(word.text) for word in one.utterance.heard]) for one in told]
    said = [normalised(one.utterance.text) for one in told]
    return Figures(
        words=sum(len(file) for _, file in pairs),
        differing=sum(edit_distance(file, live) for live, file in pairs),
        taken_back=sum(one.transcript != one.deltas for one in told),
        delays=[delay for one in told for delay in word_delays(one)],
        finals=[one.finished - one.utterance.seconds for one in told],
        live_errors=sum(edit_distance(want, live) for want, (live, _) in zip(said, pairs, strict=True)),
        file_errors=sum(edit_distance(want, file) for want, (_, file) in zip(said, pairs, strict=True)),
        reference_words=sum(len(want) for want in said),
    )


def bare(word: str) -> str:
    """A word in small letters without punctuation."""
    return "".join(normalised(word))


def word_delays(told: Told) -> Iterator[float]:
    """From the end of each word until it was told, for the words told while the utterance was spoken."""
    live = [bare(word) for word, _ in told.words]
    file = [bare(word.text) for word in told.utterance.heard]
    for block in SequenceMatcher(a=live, b=file, autojunk=False).get_matching_blocks():
        for place in range(block.size):
            came = told.words[block.a + place][1]
            if came < told.utterance.seconds:
                yield came - told.utterance.heard[block.b + place].end


async def paced(arguments: argparse.Namespace) -> None:
    """Every level, every number of sessions."""
    with running_server(*arguments.flags) as server:
        spoken = utterances(arguments.utterances, server.url)
        print(f"{len(spoken)} utterances, {sum(one.seconds for one in spoken):.0f} s")
        print(
            "| delay | sessions | words | differ from file | taken back | p50 | p95 | end p50 / p95 | WER live | WER file |"
        )
        print("|---|---|---|---|---|---|---|---|---|---|")
        for sessions, delay in itertools.product(arguments.sessions, arguments.delays):
            began, busy = time.perf_counter(), cpu_seconds(server.pid)
            told = await asyncio.gather(
                *(
                    speak(server.url, rotated(spoken, place, sessions), delay, start_after=0.37 * place)
                    for place in range(sessions)
                )
            )
            seconds = time.perf_counter() - began
            cores = (cpu_seconds(server.pid) - busy) / seconds
            row = figures([one for each in told for one in each]).row()
            print(f"| {delay} | {sessions} | {row} | ({cores:.2f} cores)", flush=True)


def rotated(spoken: Sequence[Utterance], place: int, sessions: int) -> Sequence[Utterance]:
    """The utterances in another order for each session; with many sessions each speaks a part of them."""
    start = place * len(spoken) // sessions
    order = [*spoken[start:], *spoken[:start]]
    return order[: max(len(spoken) // sessions, 8)] if sessions > 1 else order


def cpu_seconds(pid: int) -> float:
    """Of a process and its children, so far."""
    total = 0.0
    for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


class Mark(NamedTuple):
    """A moment of the hour: audio heard, its wall time, processor time and memory, and how far times were off since the last.

    "Off" is from where a clip was sent to where speech was said to begin: the clip's own silence and a constant, so that
    a growing median is drift.
    """

    audio_seconds: float
    wall_seconds: float
    cpu_seconds: float
    memory_mib: float
    off_ms: float


@dataclass(slots=True)
class Hour:
    """An hour of speech in one session, as fast as the server takes it."""

    server: ServerProcess
    seconds: float
    said: list[str] = field(default_factory=list[str])
    starts: list[float] = field(default_factory=list[float])
    texts: list[str] = field(default_factory=list[str])
    marks: list[Mark] = field(default_factory=list[Mark])
    _began: float = field(default_factory=time.perf_counter)
    _off: list[float] = field(default_factory=list[float])

    async def speak(self, connection: Any, clips: Sequence[tuple[str, Waveform]]) -> None:
        """Clip after clip, with a pause behind each."""
        spoken = 0.0
        pause = np.zeros(round(PAUSE_SECONDS * SAMPLE_RATE), np.float32)
        for text, samples in itertools.cycle(clips):
            if spoken >= self.seconds:
                break
            pcm = at_wire_rate(np.concatenate([samples, pause]))
            self.said.append(text)
            self.starts.append(spoken)
            for start in range(0, len(pcm), FRAME_BYTES):
                await append(connection, pcm[start : start + FRAME_BYTES])
            spoken += len(pcm) / 2 / WIRE_RATE
        await connection.input_audio_buffer.commit(event_id="last")

    async def hear(self, connection: Any) -> None:
        """Until all that was committed is heard."""
        committed, last = 0, False
        async for event in connection:
            if event.type == "input_audio_buffer.speech_started":
                self._note(event.audio_start_ms / 1000)
            committed += event.type == "input_audio_buffer.committed"
            last = last or (event.type == "error" and event.error.event_id == "last")
            if event.type == COMPLETED:
                self.texts.append(event.transcript)
            if last and len(self.texts) == committed:
                return

    def _around(self, audio: float) -> Sequence[float]:
        """Where the clips before and behind a moment were sent."""
        place = bisect_right(self.starts, audio)
        return self.starts[max(0, place - 1) : place + 1]

    def _note(self, audio: float) -> None:
        self._off.append(min((audio - start for start in self._around(audio)), key=abs))
        if self.marks and audio - self.marks[-1].audio_seconds < self.seconds / MARKS:
            return
        wall, memory = time.perf_counter() - self._began, resident_bytes(psutil.Process(self.server.pid))
        off_ms = 1000 * float(np.median(self._off))
        self.marks.append(Mark(audio, wall, cpu_seconds(self.server.pid), memory / MIB, off_ms))
        self._off.clear()


async def hour(arguments: argparse.Namespace) -> None:
    """Its figures, a line for each twelfth."""
    turns = {"type": "server_vad"} if arguments.turns == "server_vad" else None
    with running_server(*arguments.flags) as server:
        clips = [(clip.text, samples_of(clip.path)) for clip in manifest_clips(SPEECH, ["short"])]
        async with session(server.url, turns, arguments.delays[0]) as connection:
            whole = Hour(server, arguments.seconds)
            hearing = asyncio.create_task(whole.hear(connection))
            await whole.speak(connection, clips)
            await hearing
    wanted, got = normalised(" ".join(whole.said)), normalised(" ".join(whole.texts))
    print(
        f"{len(wanted)} words, {len(whole.texts)} turns, WER {100 * edit_distance(wanted, got) / len(wanted):.2f} %"
    )
    for mark in whole.marks:
        print(mark)


def main() -> None:
    """What is asked for on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["paced", "hour"])
    parser.add_argument("--delays", type=lambda text: text.split(","), default=list(LEVELS))
    parser.add_argument(
        "--sessions", type=lambda text: [int(part) for part in text.split(",")], default=[1, 10]
    )
    parser.add_argument("--utterances", type=int, default=37)
    parser.add_argument("--seconds", type=float, default=HOUR_SECONDS)
    parser.add_argument("--turns", choices=["server_vad", "none"], default="server_vad")
    parser.add_argument("flags", nargs="*", help="of `lithophone serve`, behind --")
    arguments = parser.parse_args()
    asyncio.run({"paced": paced, "hour": hour}[arguments.what](arguments))


if __name__ == "__main__":
    main()
