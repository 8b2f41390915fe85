"""The whole server put together: settings → device plan → engine → HTTP.

Owns the order of start and end. SIGTERM and SIGINT close the door, let running requests finish, give the memory back.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType

import structlog
import uvicorn
from litestar import Litestar

from lithophone.audio.decode import bundled_ffmpeg
from lithophone.backends.base import Backend, VoiceDetector
from lithophone.backends.device import plan_device, read_torch_facts
from lithophone.backends.opening import backend_opener
from lithophone.backends.silero import SileroDetector
from lithophone.backends.transformers_backend.checkpoint import read_reference
from lithophone.engine.engine import Engine, EngineOptions, EngineState
from lithophone.errors import ConfigurationError
from lithophone.granite.family import FAMILY, ModelSpec, demonstration_note
from lithophone.http.app import create_app
from lithophone.http.options import HttpOptions
from lithophone.settings import Settings

log = structlog.get_logger(__name__)


def build_engine(settings: Settings) -> Engine:
    """The engine for the model and device asked for; nothing is loaded yet.

    Raises:
        StartupError: the model or device cannot be had.
    """
    reference = read_reference(settings.model)
    _refuse_native_times(settings, reference.spec)
    facts = read_torch_facts()
    plan = plan_device(
        facts,
        settings.device,
        settings.dtype,
        cpu_offload=settings.cpu_offload,
        quantization=settings.quantization,
        compiled=settings.compile,
        cpu_threads=settings.cpu_threads,
        environ=os.environ,
    )
    for line in (*plan.reasons, *plan.notes):
        log.info("device", kind=plan.kind, dtype=plan.dtype, note=line)
    return engine_for(
        backend_opener(reference, plan, read_torch_facts),
        reference.spec,
        reference.model_id,
        settings,
        voice=SileroDetector(),
    )


def _refuse_native_times(settings: Settings, spec: ModelSpec) -> None:
    if settings.word_times == "native" and not spec.word_times:
        able = ", ".join(member.id for member in FAMILY.values() if member.word_times)
        raise ConfigurationError(
            f"{spec.id} writes no word times of its own (--word-times native); {able} does"
        )


def engine_for(
    open_backend: Callable[[], Backend],
    spec: ModelSpec,
    model_id: str,
    settings: Settings,
    *,
    voice: VoiceDetector | None = None,
) -> Engine:
    """An engine with the limits of the settings around any backend."""
    options = EngineOptions(
        max_requests=settings.max_requests, unload_after_seconds=settings.unload_after_seconds
    )
    return Engine(open_backend, spec=spec, model_id=model_id, options=options, voice=voice)


def build_app(engine: Engine, settings: Settings) -> Litestar:
    """The HTTP application over an engine, which starts and stops with it."""
    options = HttpOptions(
        api_keys=settings.api_keys,
        max_upload_bytes=settings.max_upload_bytes,
        max_audio_seconds=settings.max_audio_seconds,
        decode_stall_seconds=settings.decode_stall_seconds,
        upload_idle_seconds=settings.upload_idle_seconds,
        native_word_times=settings.word_times == "native",
    )
    return create_app(engine, options)


class Server(uvicorn.Server):
    """uvicorn, telling the engine to take no new work as soon as a signal comes."""

    def __init__(self, config: uvicorn.Config, engine: Engine) -> None:
        super().__init__(config)
        self._engine = engine
        self._listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the door, and say so."""
        await super().startup(sockets)
        self._listening.set()

    async def url(self) -> str:
        """Where the server listens, once it does."""
        await self._listening.wait()
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)  # noqa: S104 - shown, not bound
        return f"http://{shown}:{port}"

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        """Drain, then end; a second Ctrl-C does not wait for running requests.

        uvicorn's own handler would raise the signal again after an orderly end, and the exit code would tell of a crash.
        """
        log.info("draining", signal=signal.Signals(sig).name)
        self._engine.drain()
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True


def serve(settings: Settings) -> int:
    """Run until a signal comes; returns the exit code.

    Raises:
        StartupError: the model or device cannot be had.
    """
    bundled_ffmpeg()  # a missing decoder is better known now than at the first request
    engine = build_engine(settings)
    config = uvicorn.Config(
        build_app(engine, settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=settings.shutdown_grace_seconds,
    )
    server = Server(config, engine)
    asyncio.run(_run(server, engine))
    return 2 if engine.info is None or not server.started else 0


async def _run(server: Server, engine: Engine) -> None:
    announcing = asyncio.create_task(_announce(server, engine))
    try:
        await server.serve()
    finally:
        announcing.cancel()


async def _announce(server: Server, engine: Engine) -> None:
    """Say where and what, once the model answers; end the server if it never will."""
    url = await server.url()
    await engine.settled()
    if engine.state is EngineState.FAILED:
        print(f"lithophone: {engine.failure}", file=sys.stderr)  # noqa: T201 - the reason the command ends
        server.should_exit = True
        return
    print(welcome(engine, url), flush=True)  # noqa: T201 - what the person who typed the command waits for


def welcome(engine: Engine, url: str) -> str:
    """The lines a person reads first."""
    info = engine.info
    where = f" on {info.device}, {info.dtype}" if info is not None else ""
    lines = [
        f"Lithophone is ready: {url}  ({engine.model_id}{where})",
        "Try it:",
        f"  curl {url}/v1/audio/transcriptions -F model=whisper-1 -F file=@examples/speech/demo.flac",
    ]
    if note := demonstration_note(engine.spec):
        lines.append(note)
    return "\n".join(lines)
