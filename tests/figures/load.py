"""What the server itself costs, and how it does under load: `python -m tests.figures.load --help`.

`overhead` sends a recording of ten seconds over a kept-alive connection to a server whose backend does nothing, so that
what is measured is HTTP, form, decoding, queue and rendering. `clients` sends the clips of `examples/speech` to a loaded
model from one client and from many at once. Both print figures for this machine; nothing is asserted.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import threading
import time
import uuid
import wave
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec
import numpy as np
import psutil
import soundfile

from tests.figures.load_server import Counts
from tests.recordings import render, speech_like

SPEECH = Path(__file__).resolve().parents[2] / "examples" / "speech"
ROUTE = "/v1/audio/transcriptions"
WARM_UP_REQUESTS = 20
START_SECONDS = 120.0


class Upload(NamedTuple):
    """A request body, ready to send."""

    body: bytes
    content_type: str
    audio_seconds: float


class Exchange(NamedTuple):
    """One request as the client saw it."""

    seconds: float
    audio_seconds: float


@dataclass(slots=True)
class Served:
    """A server process: where it is, what its own clock said of each request, and its counts once it has ended."""

    url: str
    milliseconds: list[float] = field(default_factory=list[float])
    counts: Counts = field(default_factory=Counts)
    process: psutil.Process = field(default_factory=psutil.Process)


def upload(content: bytes, audio_seconds: float, **fields: str) -> Upload:
    """A transcription request as a form."""
    boundary = uuid.uuid4().hex
    texts = {"model": "whisper-1", **fields}
    head = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in texts.items()
    )
    file = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    body = (head + file).encode() + content + f"\r\n--{boundary}--\r\n".encode()
    return Upload(body, f"multipart/form-data; boundary={boundary}", audio_seconds)


def wav_file(seconds: float) -> bytes:
    """Something speech-like in the plainest of formats: 16 bits, 16 kHz, mono."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes((speech_like(seconds) * 32767).astype("<i2").tobytes())
    return buffer.getvalue()


@contextmanager
def served(*flags: str) -> Iterator[Served]:
    """`tests.figures.load_server` in a process of its own."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.figures.load_server", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        timer = threading.Timer(START_SECONDS, process.kill)
        timer.start()
        output = process.stdout or ()
        server = Served("", process=psutil.Process(process.pid))
        log = threading.Thread(target=_read_log, args=(process, server), daemon=True)
        log.start()
        try:
            server.url = next((line.strip() for line in output if line.startswith("http")), "")
            timer.cancel()
            if not server.url:
                raise RuntimeError("the server did not start")
            yield server
        finally:
            process.terminate()
            for line in output:
                with suppress(msgspec.DecodeError):
                    server.counts = msgspec.json.decode(line, type=Counts)
            log.join()


def _read_log(process: subprocess.Popen[str], server: Served) -> None:
    for line in process.stderr or ():
        found = re.search(r'"event": "request"', line) and re.search(r'"milliseconds": ([\d.]+)', line)
        if found:
            server.milliseconds.append(float(found[1]))
        elif '"level": "info"' not in line:
            sys.stderr.write(line)


def connect(url: str) -> HTTPConnection:
    """A connection that stays open."""
    return HTTPConnection(urlsplit(url).netloc, timeout=120)


def ask(connection: HTTPConnection, request: Upload) -> Exchange:
    """One request on an open connection, from its first byte to the answer's last.

    Raises:
        RuntimeError: the answer is an error.
    """
    began = time.perf_counter()
    connection.request("POST", ROUTE, request.body, {"Content-Type": request.content_type})
    response = connection.getresponse()
    answer = response.read()
    seconds = time.perf_counter() - began
    if response.status != 200:
        raise RuntimeError(f"{response.status}: {answer.decode()}")
    return Exchange(seconds, request.audio_seconds)


def cpu_seconds(process: psutil.Process) -> float:
    """Processor time a process and its ended children have used: what a busy machine does not falsify much."""
    times = process.cpu_times()
    return times.user + times.system + times.children_user + times.children_system


def quantiles(values: Sequence[float], *shares: float) -> list[float]:
    """The values below which so many of all lie."""
    return [float(np.quantile(values, share)) for share in shares]


def measure_overhead(requests: int, seconds: float, *flags: str) -> None:
    """Print the cost of a request for each way to send and to answer it."""
    sound = wav_file(seconds)
    with tempfile.TemporaryDirectory() as folder:
        flac = render(sound, Path(folder) / "a.flac").read_bytes()
    cases = {
        "WAV, json": upload(sound, seconds),
        "WAV, verbose_json with words": upload(
            sound, seconds, response_format="verbose_json", **{"timestamp_granularities[]": "word"}
        ),
        "FLAC (ffmpeg), json": upload(flac, seconds),
    }
    print(f"{requests} requests of {seconds:g} s each, one kept-alive connection, no-op backend")
    for name, request in cases.items():
        with served(*flags) as server, closing(connect(server.url)) as connection:
            for _ in range(WARM_UP_REQUESTS):
                ask(connection, request)
            before = cpu_seconds(server.process)
            client = [1000 * ask(connection, request).seconds for _ in range(requests)]
            spent = cpu_seconds(server.process) - before
        own = server.milliseconds[-requests:]
        for who, values in (("client", client), ("server", own)):
            median, p95, p99 = quantiles(values, 0.5, 0.95, 0.99)
            print(f"  {name:30} {who}: median {median:6.2f} ms, p95 {p95:6.2f}, p99 {p99:6.2f}")
        print(f"  {'':30} {1000 * spent / requests:.2f} ms of processor time in the server, ffmpeg included")


def example_uploads(*, as_wav: bool) -> list[Upload]:
    """The example clips, Opus as they are or as WAV, in an order that mixes their kinds."""
    entries = [json.loads(line) for line in (SPEECH / "manifest.jsonl").read_text().splitlines()]
    files = [SPEECH / entry["file"] for entry in entries]
    contents = [_as_wav(file) if as_wav else file.read_bytes() for file in files]
    uploads = [upload(content, entry["seconds"]) for content, entry in zip(contents, entries, strict=True)]
    order = np.random.default_rng(5).permutation(len(uploads))
    return [uploads[index] for index in order]


def _as_wav(file: Path) -> bytes:
    buffer = io.BytesIO()
    samples, rate = soundfile.read(file, dtype="int16")
    soundfile.write(buffer, samples, rate, format="WAV")
    return buffer.getvalue()


def drive(url: str, uploads: Sequence[Upload], clients: int, seconds: float) -> tuple[list[Exchange], float]:
    """All clients ask one clip after another for so long; what they saw, and how long it took until the last was done."""
    exchanges: list[Exchange] = []
    end = time.monotonic() + seconds

    def run(number: int) -> None:
        with closing(connect(url)) as connection:
            turn = number
            while time.monotonic() < end:
                exchanges.append(ask(connection, uploads[turn % len(uploads)]))
                turn += clients

    threads = [threading.Thread(target=run, args=(number,)) for number in range(clients)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return exchanges, time.perf_counter() - began


def measure_clients(uploads: Sequence[Upload], numbers: Sequence[int], seconds: float, *flags: str) -> None:
    """Print throughput and latency for each number of clients."""
    alone = 0.0
    for clients in numbers:
        with served(*flags) as server:
            before = cpu_seconds(server.process)
            exchanges, took = drive(server.url, uploads, clients, seconds)
            spent = cpu_seconds(server.process) - before
        speed = sum(exchange.audio_seconds for exchange in exchanges) / took
        alone = alone or speed
        p50, p95 = quantiles([1000 * exchange.seconds for exchange in exchanges], 0.5, 0.95)
        counts = server.counts
        print(
            f"{clients:3} clients: {speed:6.1f} audio seconds a second ({speed / alone:.2f} times the first row), "
            f"{len(exchanges) / took:5.1f} requests/s, p50 {p50:.0f} ms, p95 {p95:.0f} ms"
        )
        print(
            f"    {1000 * spent / len(exchanges):.0f} ms of processor time a request, "
            f"{1000 * counts.processor_seconds / len(exchanges):.0f} of it in the model's thread"
        )
        print(
            f"    model busy {100 * counts.busy_seconds / took:.0f} % of the time, {counts.mean_windows:.1f} windows a step; "
            + ", ".join(
                f"{size}: {count} steps of {1000 * counts.seconds[size] / count:.1f} ms"
                for size, count in sorted(counts.steps.items())
            )
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    overhead = commands.add_parser("overhead", help="cost of a request without a model")
    overhead.add_argument("--requests", type=int, default=300)
    overhead.add_argument("--seconds", type=float, default=10.0, help="length of the recording")
    overhead.add_argument("--voice", action="store_true", help="with voice activity detection")
    clients = commands.add_parser("clients", help="one client and many on a model")
    clients.add_argument("--clients", type=int, nargs="+", default=[1, 16])
    clients.add_argument("--seconds", type=float, default=20.0, help="for each number of clients")
    clients.add_argument(
        "--wav", action="store_true", help="send WAV instead of Opus, which needs an ffmpeg each"
    )
    clients.add_argument("--model", default="granite-speech-tiny")
    clients.add_argument("--dtype", default="float32")
    clients.add_argument(
        "--threads", type=int, default=0, help="CPU threads of the model; 0: as the server has it"
    )
    options = parser.parse_args()
    load = os.getloadavg()[0]
    print(f"{platform.machine()}, {os.cpu_count()} cores, load average {load:.1f} before the start")
    if options.command == "overhead":
        measure_overhead(options.requests, options.seconds, *(["--voice"] if options.voice else []))
    else:
        flags = ("--model", options.model, "--dtype", options.dtype, "--threads", str(options.threads))
        measure_clients(
            example_uploads(as_wav=options.wav), options.clients, options.seconds, *flags, "--voice"
        )


if __name__ == "__main__":
    main()
