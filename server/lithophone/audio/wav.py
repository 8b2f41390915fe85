"""Plain WAV files, read without a process.

Owns which WAV files are plain, where their samples are, and how they become PCM16. A plain one has one or two channels of
16, 24 or 32 bits or float32, and a file structure that leaves no question; it is what most programs send. Everything else,
the damaged included, is left to ffmpeg, whose samples these are to the last bit: it resamples by soxr, too.

Sources: Microsoft's "Multimedia Programming Interface and Data Specifications 1.0" (RIFF, WAVE) and the description of
`WAVEFORMATEXTENSIBLE`.
"""

from __future__ import annotations

import asyncio
import os
import struct
from enum import Enum
from typing import Final

import msgspec
import numpy as np
import soxr  # pyright: ignore[reportMissingTypeStubs] - it has annotations, but no py.typed
from numpy.typing import NDArray

from lithophone.audio.mixing import PIECE_SAMPLES, Frames, pcm16_from_channels
from lithophone.audio.riff import (
    EXTENSIBLE_TAG,
    FLOAT_TAG,
    MAX_CHUNKS,
    PCM_TAG,
    RIFF_HEADER_BYTES,
    SUBFORMAT_TAIL,
    Chunk,
    walk_chunks,
)
from lithophone.audio.sniff import Container
from lithophone.audio.stream import BLOCK_BYTES, DecodeLimits, PcmStream, ReadAt
from lithophone.audio.waveform import PCM16_SCALE, SAMPLE_BYTES, SAMPLE_RATE

AT_ONCE_SECONDS: Final = 30  # up to here a file is one block: each costs changes of thread
AT_ONCE_SAMPLES: Final = AT_ONCE_SECONDS * SAMPLE_RATE
STEP_SECONDS: Final = 4  # of the file are read at a time
LOWEST_RATE: Final = 4_000  # in Hz; beyond these two, nobody records speech
HIGHEST_RATE: Final = 192_000
BLOCK_SAMPLES: Final = BLOCK_BYTES // SAMPLE_BYTES
IGNORED_CHUNKS: Final = frozenset(
    (b"LIST", b"fact", b"bext", b"iXML", b"id3 ", b"ID3 ", b"JUNK", b"junk", b"FLLR", b"PAD ", b"PEAK", b"cue ", b"smpl")
)  # fmt: skip
# Channel masks: not said, or front centre; front left and right.
USUAL_SPEAKERS: Final = {1: (0, 4), 2: (0, 3)}


class Encoding(Enum):
    """How a sample is stored; little endian."""

    INT16 = (PCM_TAG, 16)
    INT24 = (PCM_TAG, 24)
    INT32 = (PCM_TAG, 32)
    FLOAT32 = (FLOAT_TAG, 32)


class PlainWav(msgspec.Struct, frozen=True, kw_only=True):
    """Where the samples of a plain WAV file are, and what they look like."""

    data_start: int
    data_bytes: int
    channels: int
    encoding: Encoding
    rate: int = SAMPLE_RATE

    @property
    def frame_bytes(self) -> int:
        """Of one sample of every channel."""
        return self.channels * self.encoding.value[1] // 8

    @property
    def frames(self) -> int:
        """Samples of each channel, `rate` a second."""
        return self.data_bytes // self.frame_bytes

    @property
    def seconds(self) -> float:
        """How long the sound lasts."""
        return self.frames / self.rate


def find_plain_wav(read_at: ReadAt, file_bytes: int) -> PlainWav | None:
    """The layout of a file, or None if it is not a plain WAV file.

    One `fmt ` chunk, behind it one `data` chunk that is neither empty nor longer than the file, around them only chunks
    that say nothing about the samples.
    """
    header = read_at(0, RIFF_HEADER_BYTES)
    if header[:4] != b"RIFF" or header[8:] != b"WAVE":
        return None
    chunks = _chunks(read_at, file_bytes)
    if chunks is None:
        return None
    essential = [chunk for chunk in chunks if chunk.name not in IGNORED_CHUNKS]
    if [chunk.name for chunk in essential] != [b"fmt ", b"data"]:
        return None
    form, data = essential
    described = _described(read_at(form.start, form.size)) if form.size <= 40 else None
    if described is None:
        return None
    channels, encoding, rate = described
    plain = PlainWav(
        data_start=data.start, data_bytes=data.size, channels=channels, encoding=encoding, rate=rate
    )
    lasts_a_sample = plain.seconds * SAMPLE_RATE >= 1
    return plain if lasts_a_sample and data.size % plain.frame_bytes == 0 else None


def _chunks(read_at: ReadAt, file_bytes: int) -> list[Chunk] | None:
    """All chunks, or None if the file has too many or they do not fit together."""
    chunks = list(walk_chunks(read_at, file_bytes))
    if not chunks or len(chunks) > MAX_CHUNKS:
        return None
    # not every writer knows that an odd chunk is padded: behind one there is no telling where the next begins
    padded = all(chunk.size % 2 == 0 for chunk in chunks[:-1])
    return chunks if padded and chunks[-1].start + chunks[-1].size <= file_bytes else None


def _described(form: bytes) -> tuple[int, Encoding, int] | None:
    """Channels, encoding and rate of a `fmt ` chunk whose fields agree with each other."""
    if len(form) not in {16, 18, 40}:
        return None
    tag, channels, rate, byte_rate, frame_bytes, bits = struct.unpack_from("<HHIIHH", form)
    if int.from_bytes(form[16:18], "little") != max(0, len(form) - 18):
        return None
    if (tag == EXTENSIBLE_TAG) != (len(form) == 40) or channels not in USUAL_SPEAKERS:
        return None
    if tag == EXTENSIBLE_TAG:
        valid_bits, speakers, tag = struct.unpack_from("<HIH", form, 18)
        if valid_bits != bits or speakers not in USUAL_SPEAKERS[channels] or form[26:] != SUBFORMAT_TAIL:
            return None
    encoding = next((known for known in Encoding if known.value == (tag, bits)), None)
    agrees = frame_bytes == channels * bits // 8 and byte_rate == rate * frame_bytes
    if encoding is None or not agrees or not LOWEST_RATE <= rate <= HIGHEST_RATE:
        return None
    return channels, encoding, rate


class Conversion:
    """The frames of one plain WAV file, in order, to mono PCM16 at 16 kHz.

    One channel of 16 bits at 16 kHz stays as it is; all else goes through floats, as in ffmpeg.
    """

    def __init__(self, wav: PlainWav) -> None:
        self._wav = wav
        self._stays = (wav.channels, wav.encoding, wav.rate) == (1, Encoding.INT16, SAMPLE_RATE)
        self._held: Frames = np.zeros((0, wav.channels), np.float32)
        self._resampler = (
            None if wav.rate == SAMPLE_RATE else soxr.ResampleStream(wav.rate, SAMPLE_RATE, wav.channels)
        )

    def push(self, frames: bytes, *, last: bool) -> bytes:
        """The samples that whole `frames` complete; with the last of them, all that is left."""
        if self._stays:
            return frames
        resampled = self._resampled(_floats(frames, self._wav.encoding), last=last)
        self._held = np.concatenate([self._held, resampled])
        count = len(self._held) if last else len(self._held) // PIECE_SAMPLES * PIECE_SAMPLES
        complete, self._held = self._held[:count], self._held[count:]
        return pcm16_from_channels(complete)

    def _resampled(self, samples: NDArray[np.float32], *, last: bool) -> Frames:
        if self._resampler is not None:
            samples = samples.reshape(-1, self._wav.channels) if self._wav.channels > 1 else samples
            samples = self._resampler.resample_chunk(samples, last=last)
        return samples.reshape(-1, self._wav.channels)


def _floats(frames: bytes, encoding: Encoding) -> NDArray[np.float32]:
    """Samples of full scale 1; integers of 24 bits become the upper ones of 32."""
    match encoding:
        case Encoding.FLOAT32:
            return np.frombuffer(frames, "<f4")
        case Encoding.INT16:
            return np.frombuffer(frames, "<i2").astype(np.float32) * np.float32(1 / PCM16_SCALE)
        case Encoding.INT24:
            upper = np.zeros((len(frames) // 3, 4), np.uint8)
            upper[:, 1:] = np.frombuffer(frames, np.uint8).reshape(-1, 3)
            frames = upper.tobytes()
        case Encoding.INT32:
            pass
    return np.frombuffer(frames, "<i4").astype(np.float32) * np.float32(2.0**-31)


class WavReader:
    """Mono PCM16 of a plain WAV file, front to back. The file must not change meanwhile."""

    def __init__(self, descriptor: int, wav: PlainWav) -> None:
        self.wav = wav
        self._descriptor = descriptor
        self._read_frames = 0
        self._conversion = Conversion(wav)
        self._pcm = bytearray()

    @classmethod
    def of(cls, descriptor: int) -> WavReader | None:
        """A reader of an open regular file, or None if it is not a plain WAV file."""
        wav = find_plain_wav(lambda at, size: os.pread(descriptor, size, at), os.fstat(descriptor).st_size)
        return None if wav is None else cls(descriptor, wav)

    @property
    def at_end(self) -> bool:
        """Everything was read."""
        return self._at_last_frame and not self._pcm

    @property
    def _at_last_frame(self) -> bool:
        return self._read_frames == self.wav.frames

    def read(self, samples: int) -> bytes:
        """At most so many of the next samples; nothing at the end."""
        wanted_bytes = samples * SAMPLE_BYTES
        while len(self._pcm) < wanted_bytes and not self._at_last_frame:
            frames = self._next_frames()
            self._pcm += self._conversion.push(frames, last=self._at_last_frame)
        block = bytes(self._pcm[:wanted_bytes])
        del self._pcm[:wanted_bytes]
        return block

    def _next_frames(self) -> bytes:
        count = min(STEP_SECONDS * self.wav.rate, self.wav.frames - self._read_frames)
        start = self.wav.data_start + self._read_frames * self.wav.frame_bytes
        frames = os.pread(self._descriptor, count * self.wav.frame_bytes, start)
        self._read_frames += count
        return frames[: len(frames) // self.wav.frame_bytes * self.wav.frame_bytes]


class WavStream(PcmStream):
    """The blocks of a plain WAV file, read off the event loop; the first, or all of a short file, is read here and now."""

    def __init__(self, reader: WavReader, limits: DecodeLimits) -> None:
        super().__init__(Container.WAV, limits)
        self._reader = reader
        is_short = reader.wav.seconds <= AT_ONCE_SECONDS
        self._first = reader.read(AT_ONCE_SAMPLES + SAMPLE_RATE if is_short else BLOCK_SAMPLES)

    @property
    def stated_seconds(self) -> float:
        """See `PcmStream`; what the file states was checked against its size."""
        return self._reader.wav.seconds

    async def close(self) -> None:
        """See `PcmStream`; the file belongs to the caller."""

    async def _receive(self) -> bytes:
        first, self._first = self._first, b""
        if first or self._reader.at_end:
            return first
        return await asyncio.to_thread(self._reader.read, BLOCK_SAMPLES)
