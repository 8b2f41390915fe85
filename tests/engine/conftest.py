"""Engines around the fake backend, on a running loop."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import msgspec
import numpy as np

from lithophone.backends.base import Backend
from lithophone.backends.fake import FakeBackend
from lithophone.engine.engine import Engine, EngineOptions
from lithophone.granite.family import DEMONSTRATION_ID, FAMILY

SAMPLE_RATE = 16_000
SPEC = msgspec.structs.replace(FAMILY[DEMONSTRATION_ID], max_window_seconds=30.0)


@asynccontextmanager
async def running(
    open_backend: Callable[[], Backend] | FakeBackend, options: EngineOptions | None = None
) -> AsyncGenerator[Engine, None]:
    """An engine that is loaded, and stopped afterwards."""
    opener = (lambda: open_backend) if isinstance(open_backend, FakeBackend) else open_backend
    engine = Engine(opener, spec=SPEC, model_id=SPEC.id, options=options)
    await engine.start()
    await engine.settled()
    try:
        yield engine
    finally:
        await engine.stop()


def noise(seconds: float, *, level: float = 0.1, seed: int = 0) -> bytes:
    samples = np.random.default_rng(seed).normal(0, level * 32767, round(seconds * SAMPLE_RATE))
    return samples.clip(-32768, 32767).astype("<i2").tobytes()


async def blocks(*pieces: bytes, block_bytes: int = 64_000) -> AsyncGenerator[bytes, None]:
    """PCM as a decoder gives it."""
    for piece in pieces:
        for start in range(0, len(piece), block_bytes):
            await asyncio.sleep(0)
            yield piece[start : start + block_bytes]
