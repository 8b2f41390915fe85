"""What ffmpeg must be told of a WAV file, because it would not find out.

Owns three oddities: files in big-endian byte order, whose samples ffmpeg would swap; samples in a larger container than
their bits need, which ffmpeg takes for floats or for twice as many samples; and files cut short, whose stated length
ffmpeg does not report. Pure.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec
import numpy as np

from lithophone.audio.riff import EXTENSIBLE_TAG, FLOAT_TAG, PCM_TAG, ByteOrder, Chunk, walk_chunks
from lithophone.audio.stream import ReadAt
from lithophone.errors import UndecodableAudioError

UNKNOWN_BYTES: Final = (
    0x7FFF_0000  # writers to a pipe, which cannot know the length, write something above this
)
SAMPLED_BYTES: Final = 65_536
BYTEWISE_TAGS: Final = frozenset((6, 7))  # A-law and mu-law have no byte order
DECODERS: Final[dict[tuple[ByteOrder, int, int], str]] = {
    (">", PCM_TAG, 8): "pcm_u8",
    (">", PCM_TAG, 16): "pcm_s16be",
    (">", PCM_TAG, 24): "pcm_s24be",
    (">", PCM_TAG, 32): "pcm_s32be",
    (">", FLOAT_TAG, 32): "pcm_f32be",
    (">", FLOAT_TAG, 64): "pcm_f64be",
    ("<", PCM_TAG, 8): "pcm_u8",
    ("<", PCM_TAG, 16): "pcm_s16le",
    ("<", PCM_TAG, 24): "pcm_s24le",
    ("<", PCM_TAG, 32): "pcm_s32le",
}


class WavForm(msgspec.Struct, frozen=True, kw_only=True):
    """What to tell.

    Attributes:
        decoder: ffmpeg's name of the one to use, where it would take a wrong one.
        stated_seconds: the length by the header, where that says.
        is_endless: the header was written before the length was known.
    """

    decoder: str | None = None
    stated_seconds: float | None = None
    is_endless: bool = False


class _Format(msgspec.Struct, frozen=True, kw_only=True):
    """The `fmt ` chunk.

    Attributes:
        tag: of the codec.
        extensible: it says how many of a sample's bits count.
        frame_bytes: of a sample of every channel.
        sample_bits: what a sample takes up.
        valid_bits: what of them counts.
        rate: in Hz.
    """

    tag: int
    extensible: bool
    frame_bytes: int
    sample_bits: int
    valid_bits: int
    rate: int


def describe_wav(read_at: ReadAt, file_bytes: int) -> WavForm:
    """What to tell of a file that starts with RIFF, RIFX, RF64 or BW64.

    Raises:
        UndecodableAudioError: big-endian samples that ffmpeg has no decoder for.
    """
    order: ByteOrder = ">" if read_at(0, 4) == b"RIFX" else "<"
    chunks = {chunk.name: chunk for chunk in reversed(list(walk_chunks(read_at, file_bytes, order)))}
    if b"fmt " not in chunks or b"data" not in chunks:
        return WavForm()
    written = _read_format(read_at(chunks[b"fmt "].start, min(chunks[b"fmt "].size, 40)), order)
    if written is None:
        return WavForm()
    data = chunks[b"data"]
    sampled = read_at(data.start, min(data.size, SAMPLED_BYTES))
    return WavForm(
        decoder=_decoder(written, order, sampled),
        stated_seconds=_stated_seconds(written, data),
        is_endless=not 0 < data.size < UNKNOWN_BYTES,
    )


def _read_format(form: bytes, order: ByteOrder) -> _Format | None:
    if len(form) < 16:
        return None
    tag, channels, rate, _, frame_bytes, bits = struct.unpack_from(f"{order}HHIIHH", form)
    valid_bits, extensible = bits, tag == EXTENSIBLE_TAG and len(form) == 40
    if extensible:
        valid_bits, _, tag = struct.unpack_from(f"{order}HII", form, 18)
    if not channels or not rate or not frame_bytes or frame_bytes % channels:
        return None
    return _Format(
        tag=tag,
        extensible=extensible,
        frame_bytes=frame_bytes,
        sample_bits=8 * frame_bytes // channels,
        valid_bits=valid_bits or bits,
        rate=rate,
    )


def _decoder(written: _Format, order: ByteOrder, sampled: bytes) -> str | None:
    decoder = DECODERS.get((order, written.tag, written.sample_bits))
    if order == ">":
        if decoder is None and written.tag not in BYTEWISE_TAGS:
            raise UndecodableAudioError(
                "The audio is a big-endian WAV file in a codec of its own.", param="file"
            )
        return decoder
    filled = -(-written.valid_bits // 8) * 8 == written.sample_bits
    return None if filled or _is_cool_edit_float(written, sampled) else decoder


def _is_cool_edit_float(written: _Format, sampled: bytes) -> bool:
    """Whether these are the floats of Cool Edit, scaled to integers of `valid_bits`, which ffmpeg reads as such."""
    if written.extensible or written.sample_bits != 32 or written.valid_bits not in {16, 24}:
        return False
    floats = np.abs(np.frombuffer(sampled[: len(sampled) // 4 * 4], "<f4"))
    return bool(np.isfinite(floats).all() and 1 < floats.max(initial=0) <= 2**written.valid_bits)


def _stated_seconds(written: _Format, data: Chunk) -> float | None:
    """Only of samples of one size: of other codecs, bytes tell no time."""
    if written.tag not in {PCM_TAG, FLOAT_TAG} or not 0 < data.size < UNKNOWN_BYTES:
        return None
    return data.size / (written.frame_bytes * written.rate)
