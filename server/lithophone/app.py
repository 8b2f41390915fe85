"""The whole server put together: settings → models and their hosts → HTTP.

Owns the order of start and end. The port is bound first, then the model's worker is started, and HTTP is put together
while it loads. SIGTERM and SIGINT close the door, let running requests finish, give the memory back.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import sys
import threading
from collections.abc import AsyncGenerator, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

import structlog
import uvicorn

from lithophone.audio.decode import bundled_ffmpeg
from lithophone.audio.fence import DecoderMemory
from lithophone.door import Entrances, Server, SideDoor
from lithophone.downloads import show_downloads
from lithophone.engine.admission import Admission
from lithophone.engine.descriptors import KEPT, allowed_by, open_descriptors, raise_limit
from lithophone.engine.sharing import Noticeboard, share_limits
from lithophone.errors import ConfigurationError, ServiceError
from lithophone.granite.family import demonstration_note
from lithophone.hosts.base import HostState, ModelHost
from lithophone.hosts.models import Models
from lithophone.http.keys import KeysFile
from lithophone.http.realtime.places import LivePlaces
from lithophone.http.telemetry import Traced, traces, untraced
from lithophone.listener import bound
from lithophone.model_hosts import build_cluster, build_models
from lithophone.settings import Settings
from lithophone.systemd import READY, Notifier

if TYPE_CHECKING:
    from litestar import Litestar

    from lithophone.hosts.ray_serve.cluster import Cluster

log = structlog.get_logger(__name__)

EXIT_DONE: Final = 0
EXIT_REFUSED: Final = 2


class Opened(NamedTuple):
    """What a server has open while it runs: its sockets, where traces go, and where it and others of its cluster meet."""

    listener: socket.socket
    wyoming: socket.socket | None
    traced: Traced
    board: Noticeboard | None


def build_app(
    models: Models, entrances: Entrances, settings: Settings, traced: Traced = untraced
) -> Litestar:
    """The HTTP application over the models, which start and stop with it. Importing what it takes needs a second or two."""
    from lithophone.backends.silero import SileroDetector  # noqa: PLC0415 - torch, while the model loads
    from lithophone.http.app import create_app  # noqa: PLC0415 - as above
    from lithophone.http.options import HttpOptions  # noqa: PLC0415 - as above

    options = HttpOptions(
        api_keys=settings.api_keys,
        keys_file=_keys_file(settings),
        max_upload_bytes=settings.max_upload_bytes,
        max_audio_seconds=settings.max_audio_seconds,
        decode_stall_seconds=settings.decode_stall_seconds,
        upload_idle_seconds=settings.upload_idle_seconds,
        upload_bytes_per_second=settings.upload_bytes_per_second,
        upload_seconds=settings.upload_seconds,
        max_uploads=settings.max_uploads,
        max_stored_bytes=settings.max_stored_bytes,
        decoder_memory=DecoderMemory(settings.max_decoder_memory_bytes),
        native_word_times=settings.word_times == "native",
        aliases=_aliases(settings),
        live_idle_seconds=settings.live_idle_seconds,
        live_session_seconds=settings.live_session_seconds,
        strict=settings.strict,
        cors_origins=settings.cors_origins,
        allowed_hosts=settings.allowed_hosts,
        root_path=settings.root_path,
    )
    return create_app(
        models,
        entrances.admission,
        places=entrances.places,
        voice=SileroDetector(),
        options=options,
        traced=traced,
    )


def build_admission(settings: Settings, max_requests: int) -> Admission:
    """The places and the time that requests are given."""
    return Admission(
        max_requests,
        max_queued_seconds=settings.max_queued_seconds,
        wait_seconds=settings.place_wait_seconds,
        max_request_seconds=settings.max_request_seconds,
    )


def _aliases(settings: Settings) -> dict[str, str]:
    """Model by name.

    Raises:
        ConfigurationError: one is not written as NAME=MODEL.
    """
    pairs = [text.partition("=") for text in settings.alias]
    for name, _, model in pairs:
        if not name.strip() or not model.strip():
            raise ConfigurationError(f"--alias {name}: write it as NAME=MODEL")
    return {name.strip(): model.strip() for name, _, model in pairs}


def serve(settings: Settings) -> int:
    """Run until a signal comes; returns the exit code.

    Raises:
        StartupError: the address, the model or the device cannot be had.
    """
    settings.require_door()
    _require_tls_files(settings)
    _keys_file(settings)  # as the decoder: before a model is loaded in vain
    bundled_ffmpeg()  # a missing decoder is better known now than at the first request
    cluster = build_cluster(settings)
    models = build_models(settings, cluster)
    allowed = allowed_by(
        raise_limit() - open_descriptors() - KEPT,
        max_requests=settings.max_requests,
        max_connections=settings.max_connections,
    )
    entrances = Entrances(build_admission(settings, allowed.requests), LivePlaces(settings.max_live_sessions))
    _watch_children_by_descriptor()
    with (
        bound(settings.host, settings.port, shared=settings.reuse_port) as listener,
        _wyoming_listener(settings) as wyoming,
        traces(os.environ) as traced,
    ):
        opened = Opened(listener, wyoming, traced, _noticeboard(settings, cluster))
        done = asyncio.run(_serve(settings, models, entrances, opened, max_connections=allowed.connections))
    code = EXIT_DONE if done else EXIT_REFUSED
    if settings.hosts != "ray":  # that one says goodbye to its cluster as the interpreter ends
        _leave(code)
    return code


def _noticeboard(settings: Settings, cluster: Cluster | None) -> Noticeboard | None:
    """Where there may be other servers, and clients with limits of their own."""
    if cluster is None or cluster.is_ours or not settings.api_keys_file:
        return None
    from lithophone.hosts.ray_serve.cluster import RayBoard  # noqa: PLC0415 - an extra

    return RayBoard(cluster)


def _watch_children_by_descriptor() -> None:
    """Python 3.11 would start a thread for each child, and lose the child where it cannot; later ones do this by themselves."""
    if sys.version_info < (3, 12) and sys.platform == "linux":
        with suppress(OSError):  # a kernel before 5.3, or a container that forbids it: threads, then
            os.close(os.pidfd_open(os.getpid()))
            policy = asyncio.get_event_loop_policy()  # pyright: ignore[reportDeprecated] - not in 3.11
            policy.set_child_watcher(asyncio.PidfdChildWatcher())  # pyright: ignore[reportDeprecated] - as above


def started_threads() -> ThreadPoolExecutor:
    """As many threads as asyncio would start one by one, started now: later there may be none left."""
    count = min(32, (os.cpu_count() or 1) + 4)
    executor, all_there = ThreadPoolExecutor(count, "lithophone"), threading.Barrier(count)
    for started in [executor.submit(all_there.wait) for _ in range(count)]:
        started.result()
    return executor


def _keys_file(settings: Settings) -> KeysFile | None:
    return KeysFile(Path(settings.api_keys_file)) if settings.api_keys_file else None


def _require_tls_files(settings: Settings) -> None:
    """Check that HTTPS can be served, if it is asked for.

    Raises:
        ConfigurationError: one of the two files is missing, cannot be read, or does not belong to the other.
    """
    if bool(settings.tls_certificate) != bool(settings.tls_key):
        raise ConfigurationError("--tls-certificate and --tls-key go together")
    if not settings.tls_certificate:
        return
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
            settings.tls_certificate, settings.tls_key
        )
    except OSError as error:  # an `SSLError` is one
        raise ConfigurationError(
            f"the TLS files {settings.tls_certificate} and {settings.tls_key} cannot be used: "
            f"{error.strerror or error}"
        ) from None


@contextmanager
def _wyoming_listener(settings: Settings) -> Generator[socket.socket | None]:
    """The socket for Home Assistant, if it is asked for.

    Raises:
        ConfigurationError: the address is taken, or the protocol is not installed.
    """
    if not settings.wyoming_port:
        yield None
        return
    if find_spec("wyoming") is None:
        raise ConfigurationError("--wyoming-port needs the protocol: pip install 'lithophone[wyoming]'")
    with bound(settings.host, settings.wyoming_port, shared=settings.reuse_port) as listener:
        yield listener


async def _serve(
    settings: Settings,
    models: Models,
    entrances: Entrances,
    opened: Opened,
    *,
    max_connections: int,
) -> bool:
    """Until the end; whether there was a model that answered."""
    asyncio.get_running_loop().set_default_executor(started_threads())
    notifier = Notifier.of(os.environ)
    models.start()
    try:
        app = await asyncio.to_thread(build_app, models, entrances, settings, opened.traced)
        config = uvicorn_config(app, settings)
        from lithophone.http.connections import Connections  # noqa: PLC0415 - while the model loads

        connections = Connections(max_connections, settings.request_head_seconds)
        ready = models.default.loaded if settings.reuse_port else None
        tell = partial(_tell_unfinished, models)
        watching = [asyncio.create_task(show_downloads(host)) for host in models.hosts]
        if opened.board is not None:
            sharing = _share_limits(models.default, entrances.admission, opened.board)
            watching.append(asyncio.create_task(sharing))
        async with _wyoming_door(settings, models, entrances.admission, opened) as side_door:
            server = Server(
                config,
                entrances,
                opened.listener,
                connections,
                notifier,
                on_interrupt=tell,
                ready=ready,
                side_door=side_door,
            )
            watching.append(asyncio.create_task(_announce(server, models.default, notifier)))
            await server.serve(sockets=[opened.listener])
        for task in watching:
            task.cancel()
    finally:
        await models.stop()
    return models.default.info is not None and server.started


def uvicorn_config(app: Litestar, settings: Settings) -> uvicorn.Config:
    """How uvicorn is to serve the application."""
    from lithophone.http.realtime.transport import WEBSOCKETS  # noqa: PLC0415 - as the app, while the model loads

    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=settings.shutdown_grace_seconds,
        ssl_certfile=settings.tls_certificate or None,
        ssl_keyfile=settings.tls_key or None,
        **WEBSOCKETS,
    )


@asynccontextmanager
async def _wyoming_door(
    settings: Settings, models: Models, admission: Admission, opened: Opened
) -> AsyncGenerator[SideDoor | None]:
    """Home Assistant's way in, announced on the network where others can reach it."""
    if opened.wyoming is None:
        yield None
        return
    from lithophone.audio.stream import DecodeLimits  # noqa: PLC0415 - only where it is asked for
    from lithophone.backends.silero import SileroDetector  # noqa: PLC0415 - as above
    from lithophone.doors.discovery import announced, announced_addresses  # noqa: PLC0415 - as above
    from lithophone.doors.wyoming import Hall, open_door  # noqa: PLC0415 - as above

    limits = DecodeLimits(
        max_audio_seconds=settings.max_audio_seconds, stall_seconds=settings.decode_stall_seconds
    )
    hall = Hall(
        models=models,
        admission=admission,
        voice=await asyncio.to_thread(SileroDetector),
        max_audio_bytes=settings.max_upload_bytes,
        limits=limits,
        traced=opened.traced,
    )
    if settings.api_keys or settings.api_keys_file:
        log.warning("wyoming_knows_no_keys", port=settings.wyoming_port)
    name = f"Lithophone on {socket.gethostname().split('.')[0]}"
    async with open_door(opened.wyoming, hall, joins=settings.reuse_port) as door:
        if addresses := announced_addresses(settings.host):
            async with announced(addresses, settings.wyoming_port, name):
                yield SideDoor(opened.wyoming, door)
        else:
            yield SideDoor(opened.wyoming, door)


def _leave(code: int) -> NoReturn:
    """End the process here: the interpreter's own end takes seconds where torch is loaded, and aborts under busy threads."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


async def _share_limits(host: ModelHost, admission: Admission, board: Noticeboard) -> None:
    """With the other servers of a cluster, once it is connected."""
    with suppress(ServiceError):
        await host.loaded()
    await share_limits(admission, board)


async def _announce(server: Server, host: ModelHost, notifier: Notifier) -> None:
    """Say where and what, once the model answers, and to systemd from then on that the server lives; end the server if it never will."""
    try:
        await host.loaded()
    except ServiceError:
        if host.state is HostState.FAILED:
            print(f"lithophone: {host.failure}", file=sys.stderr)  # noqa: T201 - the reason the command ends
            server.should_exit = True
        return
    print(welcome(host, await server.url()), flush=True)  # noqa: T201 - what the person who typed the command waits for
    notifier.tell(READY)
    await notifier.stay_alive()


def _tell_unfinished(models: Models) -> None:
    """What is to be known of downloads that the end has cut."""
    for host in models.hosts:
        if host.fetched is not None and host.info is None:
            print(  # noqa: T201 - for whoever typed Ctrl-C
                f"\nlithophone: stopped with {host.fetched} of {host.model_id} downloaded; the next start goes on from there",
                file=sys.stderr,
            )


def welcome(host: ModelHost, url: str) -> str:
    """The lines a person reads first."""
    info = host.info
    where = f" on {info.device}, {info.dtype}" if info is not None else ""
    lines = [
        f"Lithophone is ready: {url}  ({host.model_id}{where})",
        "Try it:",
        f"  curl {url}/v1/audio/transcriptions -F model=whisper-1 -F file=@examples/speech/demo.flac",
    ]
    if note := demonstration_note(host.spec):
        lines.append(note)
    return "\n".join(lines)
