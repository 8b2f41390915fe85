"""Files in, 16 kHz mono PCM out, through one ffmpeg process per file that can reach nothing but that file.

Owns the ffmpeg call, its limits and what its failures mean. Knows nothing of requests, windows or models. Plain WAV
files at 16 kHz need no process (`lithophone.audio.wav`).

The process gets the open file as a descriptor (ffmpeg's `fd:` protocol, the only one it may use), the demuxer that
`sniff` chose (the only one it may use), a list of audio decoders, an empty environment and resource limits. So a playlist
is never followed, a QuickTime file's external references stay closed and no image or video is ever decoded.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import stat
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import imageio_ffmpeg  # pyright: ignore[reportMissingTypeStubs]

from lithophone.audio.fence import end_from_outside, kill_group, limit_resources, start_fenced
from lithophone.audio.sniff import HEAD_BYTES, Container, id3_tag_bytes, sniff_container
from lithophone.audio.stream import BLOCK_BYTES, DecodeLimits, PcmStream, StoredFile
from lithophone.audio.wav import WavReader, WavStream
from lithophone.audio.waveform import SAMPLE_BYTES, SAMPLE_RATE
from lithophone.errors import ConfigurationError, NoAudioStreamError, ServiceError, UndecodableAudioError

REPORT_LINE_BYTES: Final = 4_096  # a line of ffmpeg's report beyond this is metadata, of no interest
MAX_TAGS: Final = 8  # ID3v2 tags in a row
MAX_ALLOCATION_BYTES: Final = 256 * 2**20  # one block within ffmpeg; the index of a day of audio fits

DECODERS: Final = (
    "aac,aac_latm,ac3,adpcm_ima_qt,adpcm_ima_wav,adpcm_ms,alac,amrnb,amrwb,eac3,flac,gsm,gsm_ms,"
    "mp1,mp1float,mp2,mp2float,mp3,mp3float,opus,vorbis,wmav1,wmav2,wmapro,wmavoice,"
    "pcm_alaw,pcm_bluray,pcm_dvd,pcm_f32be,pcm_f32le,pcm_f64be,pcm_f64le,pcm_mulaw,pcm_s16be,pcm_s16le,"
    "pcm_s24be,pcm_s24le,pcm_s32be,pcm_s32le,pcm_s8,pcm_u8"
)
# One pass mixes down (centre and both sides at equal voice level, no LFE), resamples with soxr and rounds.
MIX_AND_RESAMPLE: Final = f"aresample=osr={SAMPLE_RATE}:ochl=mono:osf=s16:resampler=soxr"


class FfmpegStream(PcmStream):
    """What an ffmpeg process writes, and what it reports meanwhile."""

    def __init__(self, process: Process, container: Container, limits: DecodeLimits) -> None:
        super().__init__(container, limits)
        self._process = process
        self._seconds_left = limits.decode_seconds
        self._report = StreamReport()
        self._watching = ExitStack()
        self._watched = self._watching.enter_context(limits.decoder_memory.watching(process.pid))
        self._report_task = asyncio.create_task(self._read_report())

    @property
    def stated_seconds(self) -> float | None:
        """See `PcmStream`."""
        return self._report.stated_seconds

    async def open(self) -> None:
        """See `PcmStream`."""
        limit_resources(
            self._process.pid,
            memory_bytes=self._limits.memory_bytes,
            cpu_seconds=max(1, int(self._limits.decode_seconds)),
        )
        await super().open()

    async def close(self) -> None:
        """Kills ffmpeg if it still runs, and reaps it."""
        self._watching.close()
        _kill(self._process)
        stdout = _stdout(self._process)
        while await stdout.read(BLOCK_BYTES):  # a pipe that stays full would hold the transport open
            pass
        await self._exit()

    async def _receive(self) -> bytes:
        started = time.monotonic()
        try:
            async with asyncio.timeout(min(self._limits.stall_seconds, self._seconds_left)):
                block = await _read_block(_stdout(self._process))
                if not block:
                    await self._exit()
        except TimeoutError:
            raise UndecodableAudioError("Decoding the file took too long.", param="file") from None
        self._seconds_left -= time.monotonic() - started
        return block

    async def _exit(self) -> None:
        await asyncio.wait(
            (self._report_task,)
        )  # awaiting the task itself would pass a cancellation on to it
        await self._process.wait()

    def _require_sound(self, block: bytes) -> None:
        """A truncated file keeps what came before the break."""
        if block:
            return
        if self._watched.over_memory:
            raise self._limits.decoder_memory.failure_of(self._watched)
        if (ended := end_from_outside(self._process.returncode)) is not None:
            raise ended
        if self._received_bytes == 0:
            raise self._report.failure()
        if self._process.returncode is not None and self._process.returncode < 0:
            raise UndecodableAudioError("The audio could not be decoded to its end.", param="file")

    async def _read_report(self) -> None:
        """Follows ffmpeg's report to its end, which keeps the pipe from filling up."""
        stderr = self._process.stderr
        if stderr is None:
            return
        rest = b""
        while chunk := await stderr.read(REPORT_LINE_BYTES):
            *lines, rest = (rest + chunk).split(b"\n")
            rest = rest[:REPORT_LINE_BYTES]
            for line in lines:
                self._report.read_line(line.decode(errors="replace"))
            if self._states_too_long():
                _kill(self._process)


class StreamReport:
    """What ffmpeg's report says of the input. Its lines are read until the input is described; the rest is dropped.

    Metadata is printed too, deeper indented, so a title cannot pass for a fact.

    Attributes:
        stated_seconds: the length the container states, if it does.
        streams: the kind of each stream, as ffmpeg calls it: `Audio`, `Video`, `Subtitle`, ...
    """

    _DURATION = re.compile(r" {2}Duration: (\d+):(\d\d):(\d\d(?:\.\d+)?),")
    _STREAM = re.compile(r" {2}Stream #0:\d+.*?: (\w+): ")

    def __init__(self) -> None:
        self.stated_seconds: float | None = None
        self.streams: list[str] = []
        self._estimated = False
        self._described = False

    def read_line(self, line: str) -> None:
        """Takes the next line."""
        if self._described:
            return
        if "Estimating duration from bitrate" in line:
            self._estimated = True
        elif match := self._DURATION.match(line):
            self._read_duration(match)
        elif match := self._STREAM.match(line):
            self.streams.append(match.group(1))
        elif line.startswith(("Stream mapping:", "Output #0")):
            self._described = True

    def _read_duration(self, match: re.Match[str]) -> None:
        """An estimate from the bit rate is no statement: it can be wrong by any factor."""
        if not self._estimated:
            hours, minutes, seconds = match.groups()
            self.stated_seconds = int(hours) * 3600 + int(minutes) * 60 + float(seconds)

    def failure(self) -> ServiceError:
        """Why nothing was decoded."""
        if self.streams and "Audio" not in self.streams:
            return NoAudioStreamError("The file contains no audio stream.", param="file")
        return UndecodableAudioError("The audio is corrupt, empty or in an unknown codec.", param="file")


@cache
def bundled_ffmpeg() -> str:
    """Absolute path of the ffmpeg binary that imageio-ffmpeg carries or, if `IMAGEIO_FFMPEG_EXE` is set, that one.

    Raises:
        ConfigurationError: there is none for this platform.
    """
    try:
        found = shutil.which(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError:
        found = None
    if found is None:
        raise ConfigurationError("No ffmpeg: install imageio-ffmpeg as a wheel or set IMAGEIO_FFMPEG_EXE.")
    return str(Path(found).resolve())


@asynccontextmanager
async def decode_audio(
    file: StoredFile, *, limits: DecodeLimits | None = None, ffmpeg_path: str | None = None
) -> AsyncGenerator[PcmStream]:
    """Decodes the first audio stream of a file to 16 kHz mono PCM16, block by block.

        async with decode_audio(upload.file, limits=limits) as stream:
            async for block in stream:
                ...
        length = stream.decoded_samples

    The file may hold any of `sniff.Container`, told by its bytes. A decoder runs no further ahead than a few blocks, so
    memory stays flat at any length. Leaving the context, by any way, kills the process, if there is one, and reaps it.

    Args:
        file: a regular file, open for reading, all of it written. It must stay open and nobody else may read or write it
            until the context is left; its position is moved. A `SpooledTemporaryFile` is rolled over to disk.
        limits: length, time and memory.
        ffmpeg_path: another ffmpeg binary than the bundled one; it then decodes everything.

    Raises:
        UnsupportedMediaError: on entry; not audio or video (415).
        NoAudioStreamError: on entry; a container without sound (415).
        UndecodableAudioError: on entry if no sample can be decoded, later if ffmpeg crashes or stalls (400). A file that is
            merely cut off or damaged further on ends early instead.
        ShortageError: no process could be started, or it was ended from outside (503).
        AudioTooLongError: on entry if the container says so, later if only the decoding shows it (413).
        ConfigurationError: on entry; no ffmpeg binary.
        ValueError: on entry; not a regular file.
    """
    limits = limits or DecodeLimits()
    stream = await _stream(file, limits, ffmpeg_path)
    try:
        await stream.open()
        yield stream
    finally:
        await stream.close()


async def decoded_blocks(file: StoredFile, limits: DecodeLimits) -> AsyncGenerator[bytes, None]:
    """The blocks of `decode_audio` alone; closing the generator ends the decoding."""
    async with decode_audio(file, limits=limits) as stream:
        async for block in stream:
            yield block


class _Inspected(NamedTuple):
    """The descriptor of a file, rewound, and what the file is."""

    descriptor: int
    container: Container


def _inspect(file: StoredFile) -> _Inspected:
    file.flush()
    descriptor = file.fileno()
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise ValueError("only a regular file can be decoded")
    offset = 0
    head = os.pread(descriptor, HEAD_BYTES, offset)
    for _ in range(MAX_TAGS):
        tag_bytes = id3_tag_bytes(head)
        if not tag_bytes:
            break
        offset += tag_bytes
        head = os.pread(descriptor, HEAD_BYTES, offset)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return _Inspected(descriptor, sniff_container(head, after_tags=offset > 0))


class _Begun(NamedTuple):
    """What a file is, and its stream if ffmpeg is not needed for it."""

    descriptor: int
    container: Container
    wav: WavStream | None


def _begin(file: StoredFile, limits: DecodeLimits) -> _Begun:
    """Everything that waits for the disk, in one change of thread."""
    descriptor, container = _inspect(file)
    reader = WavReader.of(descriptor) if container is Container.WAV else None
    return _Begun(descriptor, container, None if reader is None else WavStream(reader, limits))


async def _stream(file: StoredFile, limits: DecodeLimits, ffmpeg_path: str | None) -> PcmStream:
    descriptor, container, wav = await asyncio.to_thread(_begin, file, limits)
    if wav is not None and ffmpeg_path is None:
        return wav
    ffmpeg_path = ffmpeg_path or await asyncio.to_thread(bundled_ffmpeg)  # the first call tries the binary
    return FfmpegStream(await _start(ffmpeg_path, descriptor, container), container, limits)


def _arguments(descriptor: int, container: Container) -> list[str]:
    demuxer = container.value
    return [
        *("-nostdin", "-hide_banner", "-nostats", "-loglevel", "info"),
        *("-max_alloc", str(MAX_ALLOCATION_BYTES)),
        *("-protocol_whitelist", "fd", "-format_whitelist", demuxer, "-codec_whitelist", DECODERS),
        *("-threads", "1", "-f", demuxer, "-fd", str(descriptor), "-i", "fd:"),
        *("-map", "0:a:0", "-vn", "-sn", "-dn", "-map_metadata", "-1", "-map_chapters", "-1"),
        *("-filter_threads", "1", "-af", MIX_AND_RESAMPLE),
        *("-threads", "1", "-c:a", "pcm_s16le", "-f", "s16le", "pipe:1"),
    ]


async def _start(ffmpeg_path: str, descriptor: int, container: Container) -> Process:
    return await start_fenced(
        ffmpeg_path,
        *_arguments(descriptor, container),
        stdin=DEVNULL,
        stdout=PIPE,
        stderr=PIPE,
        pass_fds=(descriptor,),
        env={},
        start_new_session=True,  # a process group of its own: killed as one, and no Ctrl-C from our terminal
        limit=BLOCK_BYTES,
    )


def _kill(process: Process) -> None:
    if process.returncode is None:
        kill_group(process.pid)


def _stdout(process: Process) -> asyncio.StreamReader:
    if process.stdout is None:
        raise ValueError("the process was started without an output pipe")
    return process.stdout


async def _read_block(reader: asyncio.StreamReader) -> bytes:
    """A full block, or whole samples of what is left of the output."""
    try:
        return await reader.readexactly(BLOCK_BYTES)
    except asyncio.IncompleteReadError as end:
        return end.partial[: len(end.partial) // SAMPLE_BYTES * SAMPLE_BYTES]
