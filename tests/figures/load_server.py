"""The server that `tests.figures.load` measures: the real one, over a backend that is counted or does nothing.

Owns the process `python -m tests.figures.load_server`: it announces its address on standard output, and its counts when
it has been told to end.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

import msgspec
import uvicorn

from lithophone.backends.base import (
    Answer,
    Backend,
    BackendInfo,
    Batch,
    Recognition,
    RecognitionRequest,
    Token,
)
from lithophone.backends.device.plan import DeviceWishes
from lithophone.backends.device.runtime import TorchRuntime
from lithophone.backends.heap import keep_freed_pages
from lithophone.backends.opening import open_backend as open_real_backend
from lithophone.backends.silero import SileroDetector
from lithophone.backends.transformers_backend.checkpoint import read_reference
from lithophone.door import Entrances, Server
from lithophone.engine.admission import Admission
from lithophone.granite.family import DEMONSTRATION_ID, FAMILY
from lithophone.granite.words import spread_words
from lithophone.hosts.base import ModelHost
from lithophone.hosts.models import Models
from lithophone.hosts.supervised import SupervisedHost
from lithophone.hosts.thread import in_thread
from lithophone.http.app import create_app
from lithophone.http.connections import Connections
from lithophone.http.realtime.places import LivePlaces
from lithophone.logs import configure_logging
from lithophone.settings import Settings

TEXT = "the seven keys are on the table"
SAID = Recognition(
    text=TEXT,
    tokens=tuple(Token(index, f" {word}", -0.25) for index, word in enumerate(TEXT.split())),
    prompt_tokens=8,
    audio_tokens=50,
    no_speech_probability=0.0,
    words=spread_words(TEXT, 0.0, 4.0),
)


class Counts(msgspec.Struct, frozen=True):
    """What the worker did after the model was warm.

    `steps` and `seconds`: for each number of windows in the batch, how many steps it made and how long they took.
    `processor_seconds`: of the worker's own thread; helpers of a second core are not in it.
    """

    steps: dict[int, int] = {}
    seconds: dict[int, float] = {}
    processor_seconds: float = 0.0

    @property
    def busy_seconds(self) -> float:
        """Time in the model."""
        return sum(self.seconds.values())

    @property
    def mean_windows(self) -> float:
        """Windows in the batch in the average step."""
        return sum(size * count for size, count in self.steps.items()) / max(1, sum(self.steps.values()))


class IdleBackend:
    """Does nothing and keeps nothing: what is measured around it is the server's."""

    def __init__(self) -> None:
        spec = FAMILY[DEMONSTRATION_ID]
        self.info = BackendInfo(
            spec=spec, model_id=spec.id, device="cpu", dtype="float32", weight_bytes=0, max_batch=16
        )

    def start_batch(self, interrupted: Callable[[], bool]) -> Batch:
        del interrupted
        return _IdleBatch()

    def forget(self, live_key: str) -> None:
        pass

    def warm_up(self) -> None:
        pass

    def close(self) -> None:
        pass


class _IdleBatch:
    def __init__(self) -> None:
        self._waiting: list[int] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def admit(self, key: int, request: RecognitionRequest) -> None:
        del request
        self._waiting.append(key)

    def drop(self, key: int) -> None:
        self._waiting.remove(key)

    def step(self) -> list[tuple[int, Answer]]:
        done, self._waiting = self._waiting, []
        return [(key, lambda: SAID) for key in done]


class CountedBackend:
    """A backend whose steps are counted and timed."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.steps: Counter[int] = Counter()
        self.seconds: dict[int, float] = {}
        self.processor_seconds = 0.0

    @property
    def info(self) -> BackendInfo:
        return self._backend.info

    def start_batch(self, interrupted: Callable[[], bool]) -> Batch:
        return _CountedBatch(self._backend.start_batch(interrupted), self)

    def forget(self, live_key: str) -> None:
        self._backend.forget(live_key)

    def warm_up(self) -> None:
        self._backend.warm_up()

    def close(self) -> None:
        self._backend.close()


class _CountedBatch:
    def __init__(self, batch: Batch, backend: CountedBackend) -> None:
        self._batch = batch
        self._backend = backend
        self.admit = batch.admit
        self.drop = batch.drop

    def __len__(self) -> int:
        return len(self._batch)

    def step(self) -> list[tuple[int, Answer]]:
        size = len(self._batch)
        began, processor_began = time.perf_counter(), time.thread_time()
        done = self._batch.step()
        self._backend.processor_seconds += time.thread_time() - processor_began
        self._backend.steps[size] += 1
        spent = time.perf_counter() - began
        self._backend.seconds[size] = self._backend.seconds.get(size, 0.0) + spent
        return done


def host_over(open_backend: Callable[[], Backend], model: str) -> tuple[ModelHost, Callable[[], Counts]]:
    """A host, and what its backend has done so far."""
    opened: list[CountedBackend] = []

    def open_counted() -> Backend:
        opened.append(CountedBackend(open_backend()))
        return opened[-1]

    def counts() -> Counts:
        return Counts(dict(opened[-1].steps), opened[-1].seconds, opened[-1].processor_seconds)

    reference = read_reference(model)
    launch = in_thread(open_counted, TorchRuntime())
    return SupervisedHost(reference.model_id, reference.spec, launch), counts


async def _serve(
    server: Server, listener: socket.socket, host: ModelHost, counts: Callable[[], Counts]
) -> None:
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    url = await server.url()
    await host.loaded()
    print(url, flush=True)  # noqa: T201 - read by the process that measures
    await serving
    print(msgspec.json.encode(counts()).decode(), flush=True)  # noqa: T201 - as above


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="a model to load; without one, a backend that does nothing")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument(
        "--threads", type=int, default=0, help="CPU threads of the model; 0: as the server has it"
    )
    parser.add_argument("--voice", action="store_true", help="with voice activity detection")
    options = parser.parse_args()
    keep_freed_pages()
    settings = Settings(port=0, max_requests=64)
    configure_logging("info", "json")
    model = options.model or DEMONSTRATION_ID
    open_backend: Callable[[], Backend] = IdleBackend
    if options.model is not None:
        wishes = DeviceWishes(device="cpu", dtype=options.dtype, cpu_threads=options.threads)
        open_backend = partial(open_real_backend, read_reference(model), wishes)
    host, counts = host_over(open_backend, model)
    entrances = Entrances(Admission(settings.max_requests), LivePlaces(settings.max_live_sessions))
    app = create_app(
        Models([host]),
        entrances.admission,
        places=entrances.places,
        voice=SileroDetector() if options.voice else None,
    )
    config = uvicorn.Config(app, log_config=None, access_log=False, server_header=False)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connections = Connections(1000, head_seconds=20.0)
        asyncio.run(_serve(Server(config, entrances, listener, connections), listener, host, counts))


if __name__ == "__main__":
    sys.exit(main())
