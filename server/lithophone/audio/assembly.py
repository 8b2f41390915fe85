"""What ffmpeg writes, laid out on the file's clock as mono PCM16.

Owns the way of a packet: its place in time, its channels mixed. Pure; a gap of hours costs no memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np

from lithophone.audio.mixing import PIECE_SAMPLES, pcm16_from_channels
from lithophone.audio.mp4 import Span
from lithophone.audio.packets import Packet, PacketReader
from lithophone.audio.timeline import Timeline
from lithophone.audio.waveform import SAMPLE_BYTES, samples_from_seconds

FLOAT_BYTES: Final = 4
QUIET: Final = 0.003  # of full scale, 50 dB below it: room tone


class Assembly:
    """Takes the output of one ffmpeg process and gives PCM16 in pieces of a second or less.

    Args:
        timeline: where the packets go.
        zero_seconds: where the packets' clock has its zero; None if their times tell nothing, as in a bare stream of frames.
    """

    def __init__(self, timeline: Timeline, zero_seconds: float | None = None) -> None:
        self._timeline = timeline
        self._clocked = zero_seconds is not None
        self._reader = PacketReader()
        self._frames = bytearray()
        timeline.begin(zero_seconds or 0.0)

    def push(self, written: bytes) -> Iterator[bytes]:
        """PCM16 that `written` completes, made as it is iterated."""
        for packet in self._reader.feed(written):
            yield from self._lay(packet)

    def finish(self) -> bytes:
        """PCM16 that is still held back, after the last of the output."""
        return b"".join(self._take(len(self._frames)))

    @property
    def _frame_bytes(self) -> int:
        return self._reader.channels * FLOAT_BYTES

    def _lay(self, packet: Packet) -> Iterator[bytes]:
        samples = len(packet.frames) // self._frame_bytes
        if self._clocked:
            silence = self._timeline.silence_before(packet.start_seconds)
            if silence:
                self._timeline.add_silence(silence)
                yield from self._take(len(self._frames))
                yield from _silence(silence)
            elif self._timeline.is_past(packet.start_seconds, samples) and _is_quiet(packet.frames):
                return
        self._timeline.add(samples)
        self._frames += packet.frames
        piece_bytes = PIECE_SAMPLES * self._frame_bytes
        yield from self._take(len(self._frames) // piece_bytes * piece_bytes)

    def _take(self, byte_count: int) -> Iterator[bytes]:
        """Mixes the first of the frames held."""
        if byte_count:
            frames = np.frombuffer(bytes(self._frames[:byte_count]), "<f4")
            del self._frames[:byte_count]
            yield pcm16_from_channels(frames.reshape(-1, self._reader.channels))


def silenced(pcm: bytearray, start_sample: int, holes: Iterable[Span]) -> bytes:
    """PCM16 that begins at `start_sample`, with silence where there are holes."""
    for hole in holes:
        start, stop = (
            max(0, samples_from_seconds(edge) - start_sample) * SAMPLE_BYTES
            for edge in (hole.start_seconds, hole.stop_seconds)
        )
        stop = min(stop, len(pcm))
        pcm[start:stop] = bytes(max(0, stop - start))
    return bytes(pcm)


def _silence(samples: int) -> Iterator[bytes]:
    for start in range(0, samples, PIECE_SAMPLES):
        yield bytes(min(PIECE_SAMPLES, samples - start) * SAMPLE_BYTES)


def _is_quiet(frames: bytes) -> bool:
    return not bool(np.any(np.abs(np.frombuffer(frames, "<f4")) > QUIET))
