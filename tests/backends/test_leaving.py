"""Windows that leave the real model's batch at any moment change nothing for those that stay."""

from __future__ import annotations

import json
import queue
import random
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from structlog.testing import capture_logs

from lithophone.backends.base import Answer, Backend, BackendInfo, Batch, RecognitionRequest
from lithophone.backends.device.plan import DevicePlan
from lithophone.backends.device.runtime import TorchRuntime
from lithophone.granite.family import DEMONSTRATION_ID
from lithophone.worker.messages import Cancel, Failed, Recognise, Recognised, Started
from tests.backends.conftest import opened, transcribed
from tests.worker.conftest import WAIT_SECONDS, working

SPEECH = Path(__file__).resolve().parents[2] / "examples" / "speech"
CLIPS = 8
ROUNDS = 6
MOST_STEPS = 200
PATIENCE_SECONDS = 0.2


class Gated:
    """A backend whose batch makes a step only when told to."""

    def __init__(self, backend: Backend) -> None:
        self.inner = backend
        self.warm_up, self.close, self.forget = backend.warm_up, backend.close, backend.forget
        self.may_step: queue.SimpleQueue[None] = queue.SimpleQueue()

    @property
    def info(self) -> BackendInfo:
        return self.inner.info

    def start_batch(self, interrupted: Callable[[], bool]) -> Batch:
        return GatedBatch(self.inner.start_batch(interrupted), self.may_step)

    def go(self, steps: int) -> None:
        """Let so many steps be made, and wait until they are, or there is nothing left to do."""
        for _ in range(steps):
            self.may_step.put(None)
        end = time.monotonic() + PATIENCE_SECONDS
        while not self.may_step.empty() and time.monotonic() < end:
            time.sleep(0.001)

    def open(self) -> None:
        """Let every step be made."""
        for _ in range(MOST_STEPS):
            self.may_step.put(None)

    def shut(self) -> None:
        """And none any more."""
        while not self.may_step.empty():
            self.may_step.get()


class GatedBatch:
    def __init__(self, batch: Batch, may_step: queue.SimpleQueue[None]) -> None:
        self._batch = batch
        self._may_step = may_step
        self.admit, self.drop = batch.admit, batch.drop

    def __len__(self) -> int:
        return len(self._batch)

    def step(self) -> list[tuple[int, Answer]]:
        self._may_step.get(timeout=WAIT_SECONDS)
        return self._batch.step()


def windows() -> list[RecognitionRequest]:
    """Clips of different lengths. Drawn at next to no temperature, so that there are no drafts and many steps."""
    files = [json.loads(line)["file"] for line in (SPEECH / "manifest.jsonl").read_text().splitlines()]
    found: list[RecognitionRequest] = []
    for file in files[:: len(files) // CLIPS][:CLIPS]:
        samples, _ = soundfile.read(SPEECH / file, dtype="float32")
        first = np.asarray(samples[: 6 * 16_000], np.float32)
        found.append(RecognitionRequest(samples=first, temperature=1e-4))
    return found


@pytest.mark.parametrize("seed", range(2))
def test_those_that_stay_are_answered_as_if_they_were_alone(plan: DevicePlan, seed: int) -> None:
    asked = windows()
    backend = Gated(opened(DEMONSTRATION_ID, plan))
    alone = [transcribed(backend.inner, request)[0].text for request in asked]
    rng = random.Random(seed)  # noqa: S311 - to repeat a run
    with capture_logs() as logs, working(lambda: backend, TorchRuntime()) as worker:
        for round_ in range(ROUNDS):
            ids = [round_ * CLIPS + number for number in range(CLIPS)]
            staying = set(ids)
            for work_id in ids:
                worker.post(Recognise(work_id, work_id, asked[work_id % CLIPS]))
            worker.next(Started)
            for leaving in rng.sample(ids, CLIPS // 2):
                backend.go(rng.randint(1, 3))
                worker.post(Cancel(leaving))
                staying.discard(leaving)
            backend.open()
            while staying:
                event = worker.next(Recognised, Failed)
                assert isinstance(event, Recognised), event
                assert event.recognition.text == alone[event.work_id % CLIPS]
                staying.discard(event.work_id)
            backend.shut()
    assert [line for line in logs if line["log_level"] == "error"] == [], "a fault that was made up for"
