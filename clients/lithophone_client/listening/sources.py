"""Where the audio comes from: a microphone, a WAV file at its own speed, raw samples on standard input.

Each is an iterator of pieces of signed 16 bit mono, and the rate they have.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
import time
import wave
from array import array
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any, BinaryIO, Final

from lithophone_client._errors import LithophoneError

SAMPLE_BYTES: Final = 2
PIECE_SECONDS: Final = 0.05
MOST_WAITING_PIECES: Final = 1_200
"""Of a microphone, a minute: where the network is slower than that, the oldest are lost."""


@dataclass(frozen=True, slots=True)
class Source:
    """Audio as it comes: signed 16 bit mono, `rate` samples a second."""

    rate: int
    pieces: AsyncGenerator[bytes, None]


def open_source(
    what: str | None, *, rate: int, device: str | None, program: str = "lithophone-client"
) -> Source:
    """The source a command line names.

    Args:
        what: A WAV file, `-` for raw samples on standard input, None for the microphone.
        rate: Of raw samples and of the microphone.
        device: Number or part of the name of the microphone; None is the system's choice.
        program: Who is to be typed in advice.

    Raises:
        LithophoneError: there is no such source.
    """
    if what is None:
        return Source(rate, _spoken(_sounddevice(), rate, device))
    if what == "-":
        return Source(rate, _read(sys.stdin.buffer, rate))
    try:
        recording = wave.open(what, "rb")  # noqa: SIM115 - its pieces close it
    except OSError as error:
        raise LithophoneError(f"{what} cannot be read: {error.strerror}") from error
    except (EOFError, wave.Error) as error:
        raise LithophoneError(
            f"{Path(what).name} is no WAV file ({error}); others are played by "
            f"ffmpeg -re -i {quote(what)} -f s16le -ar {rate} -ac 1 - | {program} listen -"
        ) from error
    if recording.getsampwidth() != SAMPLE_BYTES:
        recording.close()
        raise LithophoneError(f"{Path(what).name} has samples of another size than 16 bit")
    return Source(recording.getframerate(), _played(recording))


async def _played(recording: wave.Wave_read) -> AsyncGenerator[bytes, None]:
    """A file, as fast as it would be heard."""
    with recording:
        rate, channels = recording.getframerate(), recording.getnchannels()
        began, played = time.monotonic(), 0
        while frames := recording.readframes(round(rate * PIECE_SECONDS)):
            piece = mono(frames, channels)
            played += len(piece) // SAMPLE_BYTES
            await asyncio.sleep(max(0.0, began + played / rate - time.monotonic()))
            yield piece


def mono(frames: bytes, channels: int) -> bytes:
    """The mean of the channels."""
    if channels == 1:
        return frames
    samples = array("h", frames)
    if sys.byteorder == "big":
        samples.byteswap()
    sums = [sum(samples[start : start + channels]) for start in range(0, len(samples), channels)]
    mixed = array("h", (total // channels for total in sums))
    if sys.byteorder == "big":
        mixed.byteswap()
    return mixed.tobytes()


async def _read(stream: BinaryIO, rate: int) -> AsyncGenerator[bytes, None]:
    """Raw samples as somebody else writes them, such as `arecord`."""
    while piece := await asyncio.to_thread(stream.read, round(rate * PIECE_SECONDS) * SAMPLE_BYTES):
        yield piece


def _sounddevice() -> Any:
    try:
        return importlib.import_module("sounddevice")
    except (ImportError, OSError) as error:  # OSError: it is there, and PortAudio is not
        raise LithophoneError(
            f"a microphone needs: pip install 'lithophone-client[listen]' ({error}); raw samples on standard input need nothing"
        ) from error


async def _spoken(sounddevice: Any, rate: int, device: str | None) -> AsyncGenerator[bytes, None]:
    """What a microphone hears."""
    loop = asyncio.get_running_loop()
    heard: asyncio.Queue[bytes] = asyncio.Queue(MOST_WAITING_PIECES)

    def keep(piece: bytes) -> None:
        if heard.full():
            heard.get_nowait()
        heard.put_nowait(piece)

    def take(block: Any, *_: object) -> None:
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(keep, bytes(block))

    number = int(device) if device is not None and device.isdecimal() else device
    try:
        microphone = sounddevice.RawInputStream(
            samplerate=rate,
            channels=1,
            dtype="int16",
            blocksize=round(rate * PIECE_SECONDS),
            device=number,
            callback=take,
        )
    except (sounddevice.PortAudioError, ValueError) as error:
        raise LithophoneError(f"the microphone cannot be opened: {error}") from error
    with microphone:
        while True:
            yield await heard.get()
