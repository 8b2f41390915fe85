"""Jobs over hosts around the fake backend, on a running loop."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import msgspec
import numpy as np

from lithophone.backends.base import Backend, VoiceDetector
from lithophone.backends.fake import FakeBackend, PlainRuntime
from lithophone.engine.job import Job
from lithophone.engine.options import JobOptions
from lithophone.granite.family import DEMONSTRATION_ID, FAMILY, ModelSpec
from lithophone.hosts.supervised import SupervisedHost
from lithophone.hosts.thread import in_thread

SAMPLE_RATE = 16_000
SPEC = msgspec.structs.replace(FAMILY[DEMONSTRATION_ID], max_window_seconds=30.0)


class Jobs:
    """A host that is ready, and the jobs it does."""

    def __init__(self, host: SupervisedHost, voice: VoiceDetector | None) -> None:
        self.host = host
        self._voice = voice

    def job(self, pcm: AsyncGenerator[bytes], options: JobOptions) -> Job:
        voice = None if self._voice is None else self._voice.open_stream()
        return Job(self.host.open_recogniser(), pcm, options, voice=voice)


@asynccontextmanager
async def running(
    backend: Callable[[], Backend] | FakeBackend,
    *,
    voice: VoiceDetector | None = None,
    spec: ModelSpec = SPEC,
) -> AsyncGenerator[Jobs, None]:
    """A host that is loaded, and stopped afterwards."""
    opener = (lambda: backend) if isinstance(backend, FakeBackend) else backend
    host = SupervisedHost(spec.id, spec, in_thread(opener, PlainRuntime()))
    await host.loaded()
    try:
        yield Jobs(host, voice)
    finally:
        await host.stop()


def noise(seconds: float, *, level: float = 0.1, seed: int = 0) -> bytes:
    samples = np.random.default_rng(seed).normal(0, level * 32767, round(seconds * SAMPLE_RATE))
    return samples.clip(-32768, 32767).astype("<i2").tobytes()


async def blocks(*pieces: bytes, block_bytes: int = 64_000) -> AsyncGenerator[bytes, None]:
    """PCM as a decoder gives it."""
    for piece in pieces:
        for start in range(0, len(piece), block_bytes):
            await asyncio.sleep(0)
            yield piece[start : start + block_bytes]
