"""How long a file's packets last together, told without decoding them.

Owns the doubt in what a file says of its length, and the count that settles it. A file may hold hours more than it states,
or state nothing; without the count that would show only when all that is allowed has been decoded, and heard.
"""

from __future__ import annotations

import os
from typing import Final

import msgspec

from lithophone.audio.ffmpeg import FfmpegProcess, Reading
from lithophone.audio.stream import STATED_TOLERANCE_SECONDS, DecodeLimits

BELIEVED_SECONDS: Final = (
    60.0  # of a file that does not say how long it is, so much is decoded without a doubt
)
COUNT_TOLERANCE_SECONDS: Final = (
    60.0  # packets may be left out later: encoder padding, edits, clocks that step
)


def is_doubtful(decoded_seconds: float, stated_seconds: float | None) -> bool:
    """Whether a file has more than it says, or much and says nothing."""
    believed = BELIEVED_SECONDS if stated_seconds is None else stated_seconds
    return decoded_seconds > believed + STATED_TOLERANCE_SECONDS


async def is_too_long(ffmpeg_path: str, reading: Reading, limits: DecodeLimits) -> bool:
    """Whether the packets of a file last longer than is allowed; False where they cannot be counted.

    Raises:
        ShortageError: no process could be started, or it was ended from outside.
    """
    most_seconds = limits.max_audio_seconds + COUNT_TOLERANCE_SECONDS
    descriptor = _opened_again(reading.descriptor)
    if descriptor is None:
        return False
    try:
        counting = msgspec.structs.replace(reading, descriptor=descriptor, counted_seconds=most_seconds)
        counted_seconds = await _count(ffmpeg_path, counting, limits)
    finally:
        os.close(descriptor)
    return counted_seconds is not None and counted_seconds >= most_seconds


async def _count(ffmpeg_path: str, reading: Reading, limits: DecodeLimits) -> float | None:
    process = await FfmpegProcess.start(ffmpeg_path, reading, limits)
    try:
        await process.read()
    finally:
        await process.close()
    return process.report.written_seconds


def _opened_again(descriptor: int) -> int | None:
    """The file with a place of its own to read at: another process reads it meanwhile. None where the system has no way."""
    try:
        return os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
