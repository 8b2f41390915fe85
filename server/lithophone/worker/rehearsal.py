"""The largest batch there will be, once, before anybody waits for it: its kernels, and the memory it takes."""

from __future__ import annotations

from typing import Final

import numpy as np
import structlog

from lithophone.audio.waveform import samples_from_seconds
from lithophone.backends.base import Backend, Fault, RecognitionRequest, Runtime
from lithophone.backends.batches import never
from lithophone.worker.limit import WindowLimit

log = structlog.get_logger(__name__)

LONGEST_WINDOW_SECONDS: Final = 30.0


def rehearse(backend: Backend, limit: WindowLimit, runtime: Runtime) -> None:
    """A few steps of a full batch of the longest windows; with fewer of them, as `limit` learns, where memory runs out.

    Raises:
        Exception: what the backend raises for another reason, or for lack of memory with a single window.
    """
    noise = np.random.default_rng(0).normal(0.0, 0.05, samples_from_seconds(LONGEST_WINDOW_SECONDS))
    request = RecognitionRequest(samples=noise.astype(np.float32))
    while True:
        windows = limit.of(backend.info.max_batch)
        try:
            _few_steps(backend, request, windows)
        except Exception as error:
            if windows == 1 or runtime.judge(error) is not Fault.OUT_OF_MEMORY:
                raise
            log.warning("rehearsal_out_of_memory", windows=windows)
            limit.lower(windows)
            runtime.trim()
        else:
            return


def _few_steps(backend: Backend, request: RecognitionRequest, windows: int) -> None:
    """As many as it takes until every window was heard, if each step hears one; then all are dropped."""
    batch = backend.start_batch(never)
    for key in range(windows):
        batch.admit(key, request)
    for _ in range(windows):
        batch.step()
    for key in range(windows):
        batch.drop(key)
