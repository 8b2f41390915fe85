"""PCM blocks of any file, through ffmpeg.

Owns the passes as they run: their time, their output laid end to end, and what was lost.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Iterator
from typing import Final, TypeVar

from lithophone.audio.assembly import Assembly, silenced
from lithophone.audio.clock import Clock, clock_of
from lithophone.audio.counting import is_doubtful, is_too_long
from lithophone.audio.ffmpeg import CLOCK_OFFSET_SECONDS, FfmpegProcess
from lithophone.audio.losses import Losses
from lithophone.audio.passes import FfmpegSource, PassPlan
from lithophone.audio.report import StreamReport
from lithophone.audio.sniff import Container
from lithophone.audio.stream import BLOCK_BYTES, DecodeLimits, PcmStream
from lithophone.audio.timeline import Timeline
from lithophone.audio.waveform import samples_in_pcm16, seconds_from_samples
from lithophone.errors import UndecodableAudioError

T = TypeVar("T")

# Codecs, as ffmpeg calls them, whose bit rate tells how much sound there should be.
CONSTANT_RATE: Final = frozenset(("ac3", "dts"))


class FfmpegStream(PcmStream):
    """The blocks that ffmpeg makes of a file.

    Attributes:
        passes: processes started so far.
    """

    def __init__(self, ffmpeg_path: str, source: FfmpegSource, limits: DecodeLimits) -> None:
        super().__init__(source.reading.container, limits)
        self.passes = 0
        self._ffmpeg_path = ffmpeg_path
        self._source = source
        self._plan = PassPlan(source)
        self._clock = Clock()
        self._timeline = Timeline()
        self._losses = Losses(is_cut=source.is_cut)
        self._seconds_left = limits.decode_seconds
        self._process: FfmpegProcess | None = None
        self._assembly = Assembly(self._timeline)
        self._pieces: Iterator[bytes] = iter(())
        self._pcm = bytearray()
        self._counted = False

    @property
    def stated_seconds(self) -> float | None:
        """See `PcmStream`.

        Of several recordings in a row, ffmpeg tells only how far the first time is from the last one, and of AVI files that
        were written to a pipe, anything.
        """
        if self._process is None or self.container.may_restart:
            return None
        if self.container is Container.AVI:
            return self._source.stated_seconds
        return self._process.report.stated_seconds

    @property
    def warnings(self) -> tuple[str, ...]:
        """See `PcmStream`."""
        chosen = (self._plan.warning,) if self._plan.warning else ()
        return (*chosen, *self._losses.warnings)

    async def open(self) -> None:
        """See `PcmStream`."""
        await self._begin_pass()
        if self._plan.choose_track(self._running.report):
            await self._begin_pass()
        self._require_allowed_length()
        await super().open()

    async def close(self) -> None:
        """Kills ffmpeg if it still runs, and reaps it."""
        if self._process is not None:
            await self._process.close()

    async def _receive(self) -> bytes:
        while len(self._pcm) < BLOCK_BYTES:
            piece = next(self._pieces, None)
            if piece is not None:
                self._pcm += piece
            elif not await self._go_on():
                break
        await self._require_countable_length()
        block = silenced(self._pcm[:BLOCK_BYTES], samples_in_pcm16(self._received_bytes), self._clock.holes)
        del self._pcm[:BLOCK_BYTES]
        return block

    async def _require_countable_length(self) -> None:
        """Counts, once, what a file holds that says less than it has given, or nothing."""
        decoded_seconds = seconds_from_samples(self._timeline.end_samples)
        if not self._counted and is_doubtful(decoded_seconds, self.stated_seconds):
            self._counted = True
            if await self._in_time(is_too_long(self._ffmpeg_path, self._plan.reading, self._limits)):
                raise self._too_long()

    def _require_sound(self, block: bytes) -> None:
        """A truncated file keeps what came before the break."""
        if block:
            return
        if self._received_bytes == 0:
            raise self._plan.failure or self._running.report.failure(self._plan.track)
        if self._running.crashed:
            raise UndecodableAudioError("The audio could not be decoded to its end.", param="file")

    @property
    def _running(self) -> FfmpegProcess:
        if self._process is None:
            raise ValueError("the stream was not opened")
        return self._process

    async def _begin_pass(self) -> None:
        await self.close()
        self.passes += 1
        self._process = await FfmpegProcess.start(self._ffmpeg_path, self._plan.reading, self._limits)
        await self._in_time(self._process.described())
        self._clock = await self._read_clock(self._process.report)
        zero = self._clock.zero_seconds
        self._assembly = Assembly(self._timeline, None if zero is None else CLOCK_OFFSET_SECONDS + zero)

    async def _read_clock(self, report: StreamReport) -> Clock:
        source, number = self._source, self._plan.audio_number
        if self.container is not Container.MP4:
            return clock_of(self.container, report, number, source.read_at, source.file_bytes)
        return await asyncio.to_thread(
            clock_of, self.container, report, number, source.read_at, source.file_bytes
        )

    async def _go_on(self) -> bool:
        """More output, from this pass or the next; False at the end of the file."""
        written = await self._in_time(self._running.read())
        self._note_losses()
        self._running.got_on(seconds_from_samples(self._timeline.end_samples))
        if written:
            self._pieces = self._assembly.push(written)
            return True
        self._pcm += self._assembly.finish()
        if await self._needs_another_pass():
            await self._begin_pass()
            return True
        self._note_end()
        return False

    async def _needs_another_pass(self) -> bool:
        """Most files need none, and no change of thread to find that out."""
        report, has_sound = self._running.report, self._timeline.end_samples > 0
        if self._running.crashed or (has_sound and not report.stopped):
            return False
        return await asyncio.to_thread(self._plan.go_on, report, has_sound=has_sound)

    def _note_losses(self) -> None:
        if self._timeline.end_samples:
            self._losses.is_faulty |= self._running.report.is_faulty(
                self._plan.track, may_end_anywhere=self._source.is_endless
            )
            self._losses.gap_seconds = seconds_from_samples(self._timeline.gap_samples)

    def _note_end(self) -> None:
        """What the end tells: a demuxer that gave up, a pass without sound, or less sound than there should be."""
        self._losses.is_faulty |= self._running.report.stopped or self._timeline.is_empty
        expected = self._expected_seconds()
        if expected is not None:
            decoded_seconds = seconds_from_samples(self._timeline.end_samples)
            self._losses.end(expected - decoded_seconds, may_have_junk=self.container is Container.MP3)

    def _expected_seconds(self) -> float | None:
        """How much sound there should be: beside a video, the length of the file does not tell."""
        report, known = self._running.report, self._source.stated_seconds
        if known is not None or not report.is_alone:
            return known
        track = self._plan.track
        if track is not None and track.codec in CONSTANT_RATE and not report.changes:
            return report.estimated_seconds or self.stated_seconds
        return self.stated_seconds

    async def _in_time(self, work: Awaitable[T]) -> T:
        """Waits for ffmpeg no longer than is allowed; the time the consumer takes does not count."""
        started = time.monotonic()
        try:
            async with asyncio.timeout(min(self._limits.stall_seconds, self._seconds_left)):
                return await work
        except TimeoutError:
            if self._seconds_left > self._limits.stall_seconds:
                raise await self._running.failure_to_get_on() from None
            raise UndecodableAudioError("Decoding the file took too long.", param="file") from None
        finally:
            self._seconds_left -= time.monotonic() - started
