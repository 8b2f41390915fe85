"""Files in, 16 kHz mono PCM out, on the file's own clock.

Owns the way in: what a file is, and who decodes it. Plain WAV files at 16 kHz need no process (`lithophone.audio.wav`),
everything else goes through ffmpeg (`lithophone.audio.transcoding`). Knows nothing of requests, windows or models.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Final

from lithophone.audio.avi import stated_audio_seconds
from lithophone.audio.caf import is_endless
from lithophone.audio.ffmpeg import Reading, bundled_ffmpeg
from lithophone.audio.ogg import ends_within_page
from lithophone.audio.passes import FfmpegSource
from lithophone.audio.sniff import HEAD_BYTES, Container, id3_tag_bytes, sniff_container
from lithophone.audio.stream import DecodeLimits, PcmStream, StoredFile
from lithophone.audio.structure import require_bounded
from lithophone.audio.tracks import require_track
from lithophone.audio.transcoding import FfmpegStream
from lithophone.audio.wav import WavReader, WavStream
from lithophone.audio.wav_form import WavForm, describe_wav

MAX_TAGS: Final = 8  # ID3v2 tags in a row


@asynccontextmanager
async def decode_audio(
    file: StoredFile,
    *,
    limits: DecodeLimits | None = None,
    audio_track: int | None = None,
    ffmpeg_path: str | None = None,
) -> AsyncGenerator[PcmStream]:
    """Decodes one audio track of a file to 16 kHz mono PCM16, block by block.

        async with decode_audio(upload.file, limits=limits) as stream:
            async for block in stream:
                ...
        length = stream.decoded_samples

    The file may hold any of `sniff.Container`, told by its bytes. Sample 0 is the zero of the file's clock: sound that
    begins later, or stops, has silence before it. A decoder runs no further ahead than a few blocks, so memory stays flat
    at any length. Leaving the context, by any way, kills the process, if there is one, and reaps it.

    Args:
        file: a regular file, open for reading, all of it written. It must stay open and nobody else may read or write it
            until the context is left; its position is moved. A `SpooledTemporaryFile` is rolled over to disk.
        limits: length, time and memory.
        audio_track: counted from 1. Without it: the one flagged as default, else the first that is no commentary, else
            the first that can be decoded.
        ffmpeg_path: another ffmpeg binary than the bundled one; it then decodes everything.

    Raises:
        UnsupportedMediaError: on entry; not audio or video (400).
        NoAudioStreamError: on entry; a container without sound (400).
        InvalidRequestError: on entry; no such track (400).
        UndecodableAudioError: on entry if no sample can be decoded, later if ffmpeg dies or stalls (400). A file that is
            merely cut off or damaged further on ends early instead, and `warnings` says so.
        ShortageError: no process could be started, or it was ended from outside (503).
        AudioTooLongError: on entry if the container says so, later if only the decoding shows it (413).
        ConfigurationError: on entry; no ffmpeg binary.
        ValueError: on entry; not a regular file.
    """
    stream = await _stream(file, limits or DecodeLimits(), audio_track, ffmpeg_path)
    try:
        await stream.open()
        yield stream
    finally:
        await stream.close()


class DecodedAudio:
    """What `decode_audio` makes of a file, for a consumer that takes its blocks and asks for the warnings later.

    Attributes:
        warnings: as `PcmStream` has them at the block given last; whole after the end.
    """

    def __init__(self, file: StoredFile, limits: DecodeLimits, audio_track: int | None = None) -> None:
        self.warnings: tuple[str, ...] = ()
        self._file = file
        self._limits = limits
        self._audio_track = audio_track

    async def blocks(self) -> AsyncGenerator[bytes]:
        """The blocks, once; raises what `decode_audio` raises. Closing the generator ends the decoding."""
        async with decode_audio(self._file, limits=self._limits, audio_track=self._audio_track) as stream:
            async for block in stream:
                self.warnings = stream.warnings
                yield block
            self.warnings = stream.warnings


async def _stream(
    file: StoredFile, limits: DecodeLimits, audio_track: int | None, ffmpeg_path: str | None
) -> PcmStream:
    found = await asyncio.to_thread(_inspect, file, limits, audio_track, plain=ffmpeg_path is None)
    if isinstance(found, WavStream):
        return found
    ffmpeg_path = ffmpeg_path or await asyncio.to_thread(bundled_ffmpeg)  # the first call tries the binary
    return FfmpegStream(ffmpeg_path, found, limits)


def _inspect(
    file: StoredFile, limits: DecodeLimits, audio_track: int | None, *, plain: bool
) -> WavStream | FfmpegSource:
    """Everything that waits for the disk, in one change of thread: a plain WAV file, or what to tell ffmpeg."""
    file.flush()
    descriptor = file.fileno()
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise ValueError("only a regular file can be decoded")
    container = _sniff(descriptor)
    if container is Container.WAV and plain and (reader := WavReader.of(descriptor)) is not None:
        require_track(audio_track, 1)
        return WavStream(reader, limits)
    return _source(descriptor, container, audio_track)


def _sniff(descriptor: int) -> Container:
    offset = 0
    head = os.pread(descriptor, HEAD_BYTES, offset)
    for _ in range(MAX_TAGS):
        tag_bytes = id3_tag_bytes(head)
        if not tag_bytes:
            break
        offset += tag_bytes
        head = os.pread(descriptor, HEAD_BYTES, offset)
    return sniff_container(head, after_tags=offset > 0)


def _source(descriptor: int, container: Container, audio_track: int | None) -> FfmpegSource:
    def read_at(at: int, byte_count: int) -> bytes:
        return os.pread(descriptor, byte_count, at)

    file_bytes = os.fstat(descriptor).st_size
    require_bounded(container, read_at, file_bytes)
    form = describe_wav(read_at, file_bytes) if container is Container.WAV else WavForm()
    stated_seconds = stated_audio_seconds(read_at) if container is Container.AVI else form.stated_seconds
    stream = "0:a:0" if audio_track is None else f"0:a:{audio_track - 1}"
    return FfmpegSource(
        reading=Reading(descriptor=descriptor, container=container, stream=stream, decoder=form.decoder),
        stated_seconds=stated_seconds,
        is_endless=form.is_endless or (container is Container.CAF and is_endless(read_at)),
        is_cut=container is Container.OGG and ends_within_page(read_at, file_bytes),
        audio_track=audio_track,
    )
