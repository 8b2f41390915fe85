"""The dashboard and the alerts against a real Prometheus that scrapes real servers under load (`make test-prometheus`).

`for` and the intervals are shortened, the expressions are those of the files.
"""

from __future__ import annotations

import asyncio
import io
import json
import math
import os
import re
import shutil
import socket
import subprocess
import time
import wave
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from websockets.sync.client import connect

from lithophone.audio.decode import DecodedAudio, DecodeLimits
from lithophone.backends.base import Backend, Fault, RecognitionRequest
from lithophone.backends.fake import FakeBackend, LoudnessDetector, PlainRuntime
from lithophone.engine.admission import Admission
from lithophone.errors import ShortageError
from lithophone.hosts.supervised import SupervisedHost
from lithophone.hosts.thread import in_thread
from tests.conftest import LiveServer, start_server
from tests.http.conftest import SPEC, occupied, serving, tone
from tests.http.realtime.conftest import PATH, Talk

DEPLOY = Path(__file__).resolve().parents[2] / "examples" / "deploy"
SPEECH = DEPLOY.parent / "speech"
PROMETHEUS = os.environ.get("PROMETHEUS") or shutil.which("prometheus")
WAIT_SECONDS = 60.0
ROUTE = "/v1/audio/transcriptions"

pytestmark = [
    pytest.mark.skipif(PROMETHEUS is None, reason="there is no Prometheus (make test-prometheus)"),
    pytest.mark.timeout(600),
]


class Sample(NamedTuple):
    labels: dict[str, str]
    value: float


class Prometheus:
    """A server of Prometheus, asked by its own API."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def ask(self, expression: str) -> list[Sample]:
        """An expression that does not parse is an error."""
        answer = self._client.get("/api/v1/query", params={"query": expression})
        assert answer.status_code == 200, answer.text
        found = answer.json()["data"]["result"]
        return [Sample(one["metric"], float(one["value"][1])) for one in found]

    def value(self, expression: str) -> float:
        return sum(sample.value for sample in self.ask(expression))

    def firing(self) -> set[str]:
        alerts = self._client.get("/api/v1/alerts").json()["data"]["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def is_up(self) -> bool:
        try:
            return self._client.get("/-/ready").status_code == 200
        except httpx.TransportError:
            return False


def soon(condition: Callable[[], bool], what: Callable[[], object] | str) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < end, what if isinstance(what, str) else what()
        time.sleep(0.25)


@contextmanager
def scraping(folder: Path, targets: Sequence[str]) -> Iterator[Prometheus]:
    """A Prometheus with our rules that asks each target twice a second."""
    assert PROMETHEUS is not None
    rules = (DEPLOY / "alerts.yaml").read_text()
    (folder / "alerts.yaml").write_text(re.sub(r"for: \d+m", "for: 0s", rules))
    configuration = {
        "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"},
        "rule_files": ["alerts.yaml"],
        "scrape_configs": [{"job_name": "lithophone", "static_configs": [{"targets": list(targets)}]}],
    }
    (folder / "prometheus.yml").write_text(json.dumps(configuration))  # JSON is YAML
    address = f"127.0.0.1:{free_port()}"
    with (folder / "log").open("w") as log:
        command = [
            PROMETHEUS,
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address={address}",
        ]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://{address}", timeout=10) as client:
            prometheus = Prometheus(client)
            soon(lambda: prometheus.is_up() or process.poll() is not None, "it starts")
            assert process.poll() is None, (folder / "log").read_text()
            yield prometheus
    finally:
        process.terminate()
        process.wait(timeout=30)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def host_of(url: str) -> str:
    return url.removeprefix("http://")


@pytest.fixture(scope="module")
def loaded() -> Iterator[LiveServer]:
    process, url = start_server()
    yield LiveServer(url, process.pid)
    process.terminate()
    process.communicate(timeout=60)


class Load(NamedTuple):
    """What a load generator has sent and was answered."""

    statuses: Counter[int]
    audio_seconds: float


def load(url: str) -> Load:
    """Recordings of the package, whole and streamed, and some that are refused, four at a time."""
    files = sorted(SPEECH.glob("*-short-0*.ogg"))[:10]
    wanted: list[tuple[Path, dict[str, str]]] = [
        *((file, {"response_format": "verbose_json"}) for file in files),
        *((file, {"stream": "true"}) for file in files[:4]),
        *((file, {"model": "nobody"}) for file in files[:3]),
    ]

    def ask(one: tuple[Path, dict[str, str]]) -> tuple[int, float]:
        path, fields = one
        answer = httpx.post(
            url + ROUTE,
            files={"file": (path.name, path.read_bytes())},
            data={"model": "whisper-1"} | fields,
            timeout=120,
        )
        verbose = fields.get("response_format") == "verbose_json"
        return answer.status_code, answer.json()["duration"] if verbose else 0.0

    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(ask, wanted))
    lengths = [seconds for _, seconds in answers[: len(files)]]
    return Load(Counter(status for status, _ in answers), sum(lengths) + sum(lengths[:4]))


def panels() -> list[tuple[str, str]]:
    found = json.loads((DEPLOY / "dashboard.json").read_text())["panels"]
    return [(panel["title"], target["expr"]) for panel in found for target in panel["targets"]]


def shown(prometheus: Prometheus, expression: str) -> bool:
    return any(math.isfinite(sample.value) for sample in prometheus.ask(expression))


def test_every_panel_shows_data_and_the_sums_are_the_loads(loaded: LiveServer, tmp_path: Path) -> None:
    with scraping(tmp_path, [host_of(loaded.url)]) as prometheus:
        soon(lambda: prometheus.value("lithophone_info") == 1, "a first scrape")
        before = prometheus.value("lithophone_audio_seconds_total")
        sent = load(loaded.url)
        speech = wave_of(SPEECH / "demo.flac")
        live_captions(loaded.url, speech)
        requests = f'lithophone_requests_total{{route="{ROUTE}"}}'
        soon(lambda: prometheus.value(requests) == sent.statuses.total(), requests)
        for status, count in sent.statuses.items():
            assert (
                prometheus.value(f'lithophone_requests_total{{route="{ROUTE}", status="{status}"}}') == count
            )
        assert prometheus.value("lithophone_audio_seconds_total") - before == pytest.approx(
            sent.audio_seconds, abs=0.02
        )
        assert prometheus.value('lithophone_errors_total{code="model_not_found"}') == sent.statuses[404] == 3
        load(loaded.url)  # so that there is a rate
        for title, expression in panels():
            if title != "Windows that failed":  # none did; the alerts' test makes some
                soon(lambda it=expression: shown(prometheus, it), title)
        assert prometheus.firing() == set()


def wave_of(path: Path) -> bytes:
    """PCM16 of a recording at 16 kHz."""

    async def decode() -> bytes:
        with path.open("rb") as file:
            return b"".join([block async for block in DecodedAudio(file, DecodeLimits()).blocks()])

    return asyncio.run(decode())


def live_captions(url: str, pcm: bytes) -> None:
    """A live session that hears a recording, faster than it is."""
    with connect(url.replace("http", "ws") + PATH, compression=None, max_size=None) as socket:
        talk = Talk(socket, WAIT_SECONDS)
        talk.receive()
        talk.configure(turn_detection=None)
        for start in range(0, len(pcm), 32_000):
            talk.append(pcm[start : start + 32_000])
            time.sleep(0.2)
        talk.commit()


class DeviceGoneError(Exception):
    """The fake's device is lost."""


def slow_wav(seconds: int) -> bytes:
    """A long recording of few bytes: 1 kHz, 8 bits."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(1)
        file.setframerate(1000)
        file.writeframes(bytes(1000 * seconds))
    return buffer.getvalue()


def unloadable() -> Backend:
    raise MemoryError


def raising(error: Exception) -> Callable[[RecognitionRequest], str]:
    def hear(_: RecognitionRequest) -> str:
        raise error

    return hear


def test_every_alert_fires_when_it_is_provoked(tmp_path: Path) -> None:
    def dying() -> Backend:
        return FakeBackend(raising(DeviceGoneError()), spec=SPEC)

    runtime = PlainRuntime({DeviceGoneError: Fault.DEVICE_LOST})
    mortal = SupervisedHost("mortal", SPEC, in_thread(dying, runtime))
    queue = Admission(1, wait_seconds=1e6)
    with ExitStack() as stack, ThreadPoolExecutor(4) as threads:
        failed = stack.enter_context(serving(unloadable, ready=False))
        busy = stack.enter_context(serving(max_requests=1, wait_seconds=0.0))
        long = stack.enter_context(serving(admission=queue))
        ill = stack.enter_context(serving(others=[mortal]))
        slow = stack.enter_context(serving(delay_seconds=6.0, voice=LoudnessDetector()))
        targets = [host_of(one.url) for one in (failed, busy, long, ill, slow)]
        prometheus = stack.enter_context(scraping(tmp_path, [*targets, f"127.0.0.1:{free_port()}"]))
        soon(lambda: len(prometheus.ask("lithophone_info")) == 5, "a first scrape")
        captions = threads.submit(live_captions, slow.url, tone(20.0, 0.5))
        threads.submit(slow.transcribe)
        with occupied(busy):
            assert Counter(busy.transcribe().status_code for _ in range(60)) == {429: 60}
        with occupied(long):
            threads.submit(long.transcribe, slow_wav(700))
            assert ill.transcribe(model="mortal").status_code == 500
            assert ill.transcribe(model="mortal").status_code == 500
            ill.script.hear = raising(RuntimeError())
            assert ill.transcribe().status_code == 500
            ill.script.failure = ShortageError("The disk is full.", lacking="disk")
            assert ill.transcribe().status_code == 503
            busy.admission.drain()
            every = set(re.findall(r"- alert: (\w+)", (DEPLOY / "alerts.yaml").read_text()))
            fired: set[str] = set()

            def all_have() -> bool:
                fired.update(prometheus.firing())
                return every <= fired

            soon(all_have, lambda: every - fired)
            (failures,) = [expression for title, expression in panels() if title == "Windows that failed"]
            soon(lambda: shown(prometheus, failures), failures)
        captions.result()


def test_the_rules_are_rules() -> None:
    assert PROMETHEUS is not None
    promtool = Path(PROMETHEUS).with_name("promtool")
    if not promtool.exists():
        pytest.skip("there is no promtool beside it")
    done = subprocess.run(
        [promtool, "check", "rules", DEPLOY / "alerts.yaml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
