"""Who transcribes: a model loaded in this process, or a server."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from lithophone.errors import ConfigurationError
from lithophone.granite.family import demonstration_note
from lithophone.settings import Settings
from lithophone.transcribe.transcriber import Transcriber, Wanted

MODEL_SETTINGS: Final = (
    "model", "device", "dtype", "quantization", "cpu_offload", "word_times", "cpu_threads", "max_audio_seconds",
    "log_level",
)  # fmt: skip
"""Settings of a command that loads a model."""

PLACE_SETTINGS: Final = (
    "hosts", "ray_address", "ray_min_replicas", "ray_max_replicas", "ray_queued_seconds", "ray_gpus", "ray_cpus",
)  # fmt: skip
"""Settings of one whose model may run elsewhere."""


ANY_MODEL: Final = "whisper-1"
"""What every server calls the model it has."""


def model_name(settings: Settings, options: argparse.Namespace) -> str:
    """The model that is asked for: of the settings, or by `--model` alone where a server has its own.

    Raises:
        ConfigurationError: there are several.
    """
    if options.server and not options.model:
        return ANY_MODEL
    return settings.only_model


@asynccontextmanager
async def open_transcriber(
    settings: Settings, wanted: Wanted, server: str | None
) -> AsyncGenerator[Transcriber]:
    """The server at an address, or else the model of the settings.

    Raises:
        StartupError: it cannot be had.
        InvalidRequestError: the model cannot do what is wanted.
    """
    opened = _here(settings, wanted) if server is None else _elsewhere(server, wanted)
    async with opened as transcriber:
        yield transcriber


@asynccontextmanager
async def _here(settings: Settings, wanted: Wanted) -> AsyncGenerator[Transcriber]:
    """What the model cannot do is refused before anything is loaded; what it cannot use is said."""
    from lithophone.audio.stream import DecodeLimits  # noqa: PLC0415 - as above
    from lithophone.model_hosts import build_models  # noqa: PLC0415 - it takes a moment to import
    from lithophone.transcribe import here  # noqa: PLC0415 - as above

    models = build_models(settings)
    spec = models.default.spec
    options = here.asked_of(wanted, spec, native_word_times=settings.word_times == "native")
    _say(demonstration_note(spec), *here.unused(wanted, spec))
    limits = DecodeLimits(
        max_audio_seconds=settings.max_audio_seconds, stall_seconds=settings.decode_stall_seconds
    )
    async with here.started(models) as host:
        voice = await asyncio.to_thread(here.load_voice_detector, spec)
        await here.wait_until_loaded(host)
        revision = await asyncio.to_thread(_revision, settings.only_model)
        yield here.TranscriberHere(
            host,
            voice,
            options,
            clips=wanted.clips,
            audio_track=wanted.form.audio_track,
            limits=limits,
            revision=revision,
            replicas=settings.ray_max_replicas if settings.hosts == "ray" else 1,
        )


def _say(*texts: str | None) -> None:
    """What is to be known before anything is transcribed."""
    for text in filter(None, texts):
        print(f"lithophone: {text}", file=sys.stderr)


def _revision(model: str) -> str:
    from lithophone.backends.transformers_backend import checkpoint  # noqa: PLC0415 - loaded by now
    from lithophone.transcribe.revision import revision_of  # noqa: PLC0415 - as above

    return revision_of(checkpoint.fetch_config(checkpoint.read_reference(model)))


@asynccontextmanager
async def _elsewhere(url: str, wanted: Wanted) -> AsyncGenerator[Transcriber]:
    try:
        from lithophone.transcribe.elsewhere import connected  # noqa: PLC0415 - it may not be installed
    except ImportError:
        raise ConfigurationError(
            "--server needs the client: pip install lithophone-client (in a clone: pip install ./clients)"
        ) from None
    async with connected(url, os.environ.get("LITHOPHONE_API_KEY"), wanted) as transcriber:
        _say(transcriber.note)
        yield transcriber
