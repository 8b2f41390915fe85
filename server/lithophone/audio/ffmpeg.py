"""One ffmpeg process that can reach nothing but the one file it reads.

Owns the call, its fence and its limits. Knows nothing of what the sound means.

The process gets the open file as a descriptor (ffmpeg's `fd:` protocol, the only one it may use), the demuxer that
`sniff` chose (the only one it may use), a list of audio decoders, an empty environment and resource limits. So a playlist
is never followed, a QuickTime file's external references stay closed and no image or video is ever decoded.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Final, Self

import imageio_ffmpeg  # pyright: ignore[reportMissingTypeStubs]
import msgspec

from lithophone.audio.fence import (
    allow_cpu,
    allowed_cpu_seconds,
    end_from_outside,
    is_idle,
    kill_group,
    limit_resources,
    start_fenced,
)
from lithophone.audio.report import StreamReport
from lithophone.audio.sniff import Container
from lithophone.audio.stream import DecodeLimits
from lithophone.audio.waveform import SAMPLE_RATE
from lithophone.errors import ConfigurationError, ServiceError, ShortageError, UndecodableAudioError

READ_BYTES: Final = 262_144  # at most, of the output at a time; each costs a change of task
REPORT_CHUNK_BYTES: Final = 65_536
REPORT_LINE_BYTES: Final = 4_096  # a line of ffmpeg's report beyond this is metadata, of no interest
FIRST_REPORT_BYTES: Final = 4 * 2**20  # of faults, before there is any sound; some 40,000 packets
REPORT_BYTES_A_SECOND: Final = 200_000  # of sound: two faults in each packet are a tenth of it
MAX_STREAMS: Final = 64  # each takes most of a megabyte before any is decoded
MAX_ALLOCATION_BYTES: Final = 256 * 2**20  # one block within ffmpeg; the index of a day of audio fits

DECODERS: Final = (
    "aac,aac_latm,ac3,alac,amrnb,amrwb,ape,dca,eac3,flac,g722,g723_1,g726,g726le,gsm,gsm_ms,mlp,"
    "adpcm_ima_qt,adpcm_ima_wav,adpcm_ms,adpcm_swf,adpcm_yamaha,mp1,mp1float,mp2,mp2float,mp3,mp3float,nellymoser,"
    "opus,shorten,speex,truehd,tta,vorbis,wavpack,wmalossless,wmapro,wmav1,wmav2,wmavoice,"
    "pcm_alaw,pcm_bluray,pcm_dvd,pcm_f16le,pcm_f24le,pcm_f32be,pcm_f32le,pcm_f64be,pcm_f64le,pcm_mulaw,pcm_s16be,pcm_s16le,"
    "pcm_s24be,pcm_s24le,pcm_s32be,pcm_s32le,pcm_s8,pcm_u8"
)
CLOCK_OFFSET_SECONDS: Final = 1_000.0  # is added to every time: Matroska has none below zero
# Frames with a sum that is wrong are still decoded, and reported. (Of AC-3, where some writers leave it out, they are not.)
CHECKED: Final = frozenset((Container.FLAC, Container.WAVPACK, Container.TTA))
RESAMPLE: Final = f"aresample=osr={SAMPLE_RATE}:osf=flt:resampler=soxr"
# Layouts of more than two channels are mixed down to two: centre and sides at equal voice level, no bass channel.
TWO_CHANNELS: Final = "aformat=channel_layouts=mono|stereo"


def _steady_clock(container: Container) -> tuple[str, ...]:
    """A filter that lets the clock run on where another recording begins, which restarts it.

    The clock of a broadcast or a chain that jumps by more than ten minutes does not tell a gap, and any step back is such a
    restart; where ffmpeg's other formats step back a little, packets only overlap, which is left to `timeline`. In ffmpeg's
    `eval` syntax, in ticks of TB seconds: [0] is the end of the frame before, [1] what the times now lack.
    """
    if not container.has_clock:
        return ()
    back_seconds, ahead_seconds = (0.1, 600) if container.may_restart else (1, 1e9)
    jump = "(PTS+ld(1)-ld(0))*TB"
    restarts = f"gt(N,0)*(lt({jump},-{back_seconds})+gt({jump},{ahead_seconds}))"
    shift = f"st(1,if({restarts},ld(0)-PTS,ld(1)))"
    return (f"asetpts='{shift};st(0,PTS+ld(1)+NB_SAMPLES/SR/TB);PTS+ld(1)'",)


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What one process reads of a file.

    Attributes:
        descriptor: of the open file.
        container: what the file is.
        stream: ffmpeg's specifier of the audio stream.
        decoder: the decoder to use instead of the one ffmpeg would take.
        skipped_bytes: how much of the file to leave out in front.
        every_channel: give all channels, for want of a layout to mix them by.
        counted_seconds: decode nothing, but tell how long the packets last together, up to so many seconds.
    """

    descriptor: int
    container: Container
    stream: str = "0:a:0"
    decoder: str | None = None
    skipped_bytes: int = 0
    every_channel: bool = False
    counted_seconds: float | None = None


def arguments(reading: Reading) -> list[str]:
    """The command line of ffmpeg, without its name."""
    demuxer = reading.container.value
    return [
        *("-nostdin", "-hide_banner", "-nostats", "-loglevel", "level+info"),
        *("-max_alloc", str(MAX_ALLOCATION_BYTES), "-max_streams", str(MAX_STREAMS)),
        *("-protocol_whitelist", "fd", "-format_whitelist", demuxer, "-codec_whitelist", DECODERS),
        *("-guess_layout_max", "2", "-threads", "1", "-f", demuxer),
        *(("-c:a", reading.decoder) if reading.decoder else ()),
        *(("-err_detect", "crccheck") if reading.container in CHECKED else ()),
        *(("-skip_initial_bytes", str(reading.skipped_bytes)) if reading.skipped_bytes else ()),
        *("-fd", str(reading.descriptor), "-i", "fd:"),
        *("-map", reading.stream, "-vn", "-sn", "-dn", "-map_metadata", "-1", "-map_chapters", "-1"),
        *(_decoded(reading) if reading.counted_seconds is None else _counted(reading.counted_seconds)),
    ]


def _decoded(reading: Reading) -> tuple[str, ...]:
    """Sound out, each packet at its time on the file's clock."""
    mixed = () if reading.every_channel else (TWO_CHANNELS,)
    return (
        "-copyts",
        *("-filter_threads", "1", "-af", ",".join((*_steady_clock(reading.container), RESAMPLE, *mixed))),
        *("-threads", "1", "-c:a", "pcm_f32le", "-output_ts_offset", str(CLOCK_OFFSET_SECONDS)),
        *("-f", "matroska", "pipe:1"),
    )


def _counted(at_most_seconds: float) -> tuple[str, ...]:
    """Nothing out: packets are passed on undecoded, and the report's end tells how far they came."""
    return ("-c", "copy", "-t", str(at_most_seconds), "-f", "null", "-")


class FfmpegProcess:
    """A running ffmpeg: what it writes, and what it reports meanwhile.

    Attributes:
        reading: what it reads.
        report: whole once the process has exited.
    """

    def __init__(self, process: Process, reading: Reading, limits: DecodeLimits) -> None:
        self.reading = reading
        self.report = StreamReport()
        self._process = process
        self._described = asyncio.Event()
        self._report_task = asyncio.create_task(self._read_report())
        self._memory = limits.decoder_memory
        self._watching = ExitStack()
        self._watched = self._watching.enter_context(self._memory.watching(process.pid))
        self._report_bytes, self._allowed_report_bytes = 0, FIRST_REPORT_BYTES
        self._file_bytes = os.fstat(reading.descriptor).st_size
        self._cpu_seconds = allowed_cpu_seconds(self._file_bytes, 0.0)
        self._most_cpu_seconds = max(1, int(limits.decode_seconds))
        limit_resources(
            process.pid,
            memory_bytes=limits.memory_bytes,
            cpu_seconds=self._cpu_seconds,
            most_cpu_seconds=self._most_cpu_seconds,
        )

    @classmethod
    async def start(cls, ffmpeg_path: str, reading: Reading, limits: DecodeLimits) -> Self:
        """A process of its own group, with the file and nothing else of ours.

        Raises:
            ShortageError: the machine has no process, memory or descriptor left for it.
        """
        os.lseek(reading.descriptor, 0, os.SEEK_SET)  # a process before this one may have moved it
        process = await start_fenced(
            ffmpeg_path,
            *arguments(reading),
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
            pass_fds=(reading.descriptor,),
            env={},
            start_new_session=True,  # killed as one, and no Ctrl-C from our terminal
            limit=READ_BYTES,
        )
        return cls(process, reading, limits)

    @property
    def crashed(self) -> bool:
        """It ended by a signal: its own fault, or a limit."""
        return self._process.returncode is not None and self._process.returncode < 0

    def got_on(self, decoded_seconds: float) -> None:
        """So much was decoded, so that it may take more processor time for what follows, and find more faults."""
        self._allowed_report_bytes = FIRST_REPORT_BYTES + int(decoded_seconds * REPORT_BYTES_A_SECOND)
        allowed = allowed_cpu_seconds(self._file_bytes, decoded_seconds)
        if allowed > self._cpu_seconds and self._process.returncode is None:
            self._cpu_seconds = allowed
            allow_cpu(self._process.pid, allowed, self._most_cpu_seconds)

    async def described(self) -> None:
        """Waits until the report tells what the file holds, or has ended."""
        await self._described.wait()

    async def failure_to_get_on(self) -> ServiceError:
        """What is told of a file for which it gave nothing for too long: at work it was slow, idle it was kept from working."""
        if await is_idle(self._process.pid):
            return ShortageError(
                "The decoder does not get on; try again later.", lacking="decoder process: does not get on"
            )
        return UndecodableAudioError("Decoding the file took too long.", param="file")

    async def read(self) -> bytes:
        """The next of its output; at the end nothing, and the process has exited.

        Raises:
            ShortageError: it was ended from outside, or decoders together take too much memory.
            UndecodableAudioError: it took too much memory, or found nothing but faults.
        """
        written = await _stdout(self._process).read(READ_BYTES)
        if not written:
            await self._exit()
            self._require_own_end()
        return written

    def _require_own_end(self) -> None:
        if self._watched.over_memory:
            raise self._memory.failure_of(self._watched)
        if self._has_too_many_faults:
            raise UndecodableAudioError("The file has too many faults to be decoded.", param="file")
        ended = end_from_outside(self._process.returncode)
        if ended is not None:
            raise ended

    async def close(self) -> None:
        """Kills it if it still runs, and reaps it."""
        self._watching.close()
        self._kill()
        while await _stdout(self._process).read(READ_BYTES):  # a full pipe would hold the transport open
            pass
        await self._exit()

    @property
    def _has_too_many_faults(self) -> bool:
        return self._report_bytes > self._allowed_report_bytes

    def _kill(self) -> None:
        if self._process.returncode is None:
            kill_group(self._process.pid)

    async def _exit(self) -> None:
        await asyncio.wait(
            (self._report_task,)
        )  # awaiting the task itself would pass a cancellation on to it
        await self._process.wait()

    async def _read_report(self) -> None:
        """Follows the report to its end, which keeps the pipe from filling up."""
        try:
            await self._read_lines()
        finally:
            self._described.set()

    async def _read_lines(self) -> None:
        stderr = self._process.stderr
        if stderr is None:
            return
        rest = b""
        while chunk := await stderr.read(REPORT_CHUNK_BYTES):
            self._report_bytes += len(chunk)
            if self._has_too_many_faults:
                self._kill()
                continue
            *lines, rest = (rest + chunk).split(b"\n")
            rest = rest[:REPORT_LINE_BYTES]
            for line in lines:
                self.report.read_line(line.decode(errors="replace"))
            if self.report.described:
                self._described.set()


def _stdout(process: Process) -> asyncio.StreamReader:
    if process.stdout is None:
        raise ValueError("the process was started without an output pipe")
    return process.stdout


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
