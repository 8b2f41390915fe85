"""Plain WAV files without ffmpeg: the same samples to the last bit, and everything odd left to ffmpeg."""

from __future__ import annotations

import asyncio
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lithophone.audio.decode import DecodeLimits, bundled_ffmpeg, decode_audio
from lithophone.audio.stream import BLOCK_BYTES
from lithophone.audio.wav import AT_ONCE_SAMPLES, Conversion, Encoding, PlainWav, WavStream, find_plain_wav
from lithophone.audio.waveform import SAMPLE_BYTES, SAMPLE_RATE
from lithophone.errors import AudioTooLongError

GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")
FRAMES = AT_ONCE_SAMPLES + 778


def chunk(name: bytes, content: bytes, size: int | None = None) -> bytes:
    stated = len(content) if size is None else size
    return name + struct.pack("<I", stated) + content + bytes(len(content) % 2)


def form(tag: int = 1, channels: int = 1, bits: int = 16, rate: int = SAMPLE_RATE) -> bytes:
    frame = channels * bits // 8
    return struct.pack("<HHIIHH", tag, channels, rate, rate * frame, frame, bits)


def extensible(
    tag: int, channels: int, bits: int, *, speakers: int = 0, valid_bits: int | None = None
) -> bytes:
    tail = struct.pack("<HHIH", 22, bits if valid_bits is None else valid_bits, speakers, tag) + GUID_TAIL
    return form(0xFFFE, channels, bits) + tail


def riff(*chunks: bytes) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def found_in(content: bytes) -> PlainWav | None:
    return find_plain_wav(lambda at, size: content[at : at + size], len(content))


def noise(encoding: Encoding, values: int) -> bytes:
    """Every bit pattern may occur; of floats, what no sane file holds as well."""
    rng = np.random.default_rng(1)
    if encoding is not Encoding.FLOAT32:
        return rng.bytes(values * encoding.value[1] // 8)
    floats = rng.normal(0.0, 0.5, values).astype("<f4")
    floats[:12] = [np.nan, 1, np.inf, -np.inf, -np.inf, 1e9, -1e9, 1, -1, 65_536, 3e38, 0.5 / 32_768]
    return floats.tobytes()


async def pcm(path: Path, ffmpeg_path: str | None = None, limits: DecodeLimits | None = None) -> bytes:
    with path.open("rb") as file:
        async with decode_audio(file, ffmpeg_path=ffmpeg_path, limits=limits) as stream:
            assert isinstance(stream, WavStream) is (ffmpeg_path is None)
            blocks = [block async for block in stream]
    if ffmpeg_path is None and sum(map(len, blocks)) <= AT_ONCE_SAMPLES * SAMPLE_BYTES:
        assert len(blocks) == 1
    assert {len(block) for block in blocks[:-1]} <= {BLOCK_BYTES}
    return b"".join(blocks)


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("plain", [True, False], ids=["plain", "extensible"])
def test_the_samples_are_those_of_ffmpeg(
    tmp_path: Path, encoding: Encoding, channels: int, *, plain: bool
) -> None:
    describe = form if plain else extensible
    path = tmp_path / "a.wav"
    path.write_bytes(
        riff(
            chunk(b"fmt ", describe(encoding.value[0], channels, encoding.value[1])),
            chunk(b"LIST", b"INFOISFT\6\0\0\0Lavf58"),
            chunk(b"data", noise(encoding, FRAMES * channels)),
            chunk(b"id3 ", b"ID3"),
        )
    )
    assert asyncio.run(pcm(path)) == asyncio.run(pcm(path, bundled_ffmpeg()))


@pytest.mark.parametrize("encoding", Encoding)
@pytest.mark.parametrize(
    ("rate", "frames"),
    [(4_000, 1), (8_000, 8_001), (11_025, 400), (44_100, 132_300), (48_000, 32 * 48_000 + 7), (192_000, 13)],
)
def test_they_are_at_any_rate(tmp_path: Path, encoding: Encoding, rate: int, frames: int) -> None:
    tag, bits = encoding.value
    channels = 1 + frames % 2
    path = tmp_path / "a.wav"
    sound = noise(encoding, max(12, frames * channels))[-frames * channels * bits // 8 :]
    path.write_bytes(riff(chunk(b"fmt ", form(tag, channels, bits, rate)), chunk(b"data", sound)))
    assert asyncio.run(pcm(path)) == asyncio.run(pcm(path, bundled_ffmpeg()))


def test_channels_that_cancel_each_other_are_told_by_the_same_seconds(tmp_path: Path) -> None:
    voice = np.random.default_rng(3).normal(0, 0.1, (FRAMES, 1))
    signs = np.where(np.arange(FRAMES)[:, None] // 40_000 % 2, [1, -1], [1, 1])
    path = tmp_path / "a.wav"
    sound = (voice * signs * 32_767).astype("<i2").tobytes()
    path.write_bytes(riff(chunk(b"fmt ", form(channels=2)), chunk(b"data", sound)))
    assert asyncio.run(pcm(path)) == asyncio.run(pcm(path, bundled_ffmpeg()))


@given(
    st.sampled_from(Encoding),
    st.integers(1, 2),
    st.integers(4_000, 192_000),
    st.lists(st.integers(0, 3_000), max_size=6),
)
def test_it_is_the_same_sound_wherever_it_is_cut(
    encoding: Encoding, channels: int, rate: int, pieces: list[int]
) -> None:
    wav = PlainWav(data_start=44, data_bytes=0, channels=channels, encoding=encoding, rate=rate)
    sound = np.random.default_rng(4).bytes(sum(pieces) * wav.frame_bytes)
    cut, at = Conversion(wav), 0
    given_out = b""
    for piece in pieces:
        given_out += cut.push(sound[at : at + piece * wav.frame_bytes], last=False)
        at += piece * wav.frame_bytes
    given_out += cut.push(b"", last=True)
    assert given_out == Conversion(wav).push(sound, last=True)
    assert abs(len(given_out) // SAMPLE_BYTES - sum(pieces) * SAMPLE_RATE / rate) <= 1


SOUND = bytes(range(200))
DATA = chunk(b"data", SOUND)
PLAIN = riff(chunk(b"fmt ", form()), DATA)


def test_a_plain_file_is_told() -> None:
    assert found_in(PLAIN) == PlainWav(data_start=44, data_bytes=200, channels=1, encoding=Encoding.INT16)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(content, id=what)
        for what, content in {
            "nothing": b"",
            "a header alone": PLAIN[:12],
            "cut off": PLAIN[:-1],
            "cut off in a chunk header": PLAIN[:40],
            "a size that lies": riff(chunk(b"fmt ", form()), chunk(b"data", SOUND, 2**32 - 1)),
            "a size of zero": riff(chunk(b"fmt ", form()), chunk(b"data", SOUND, 0)),
            "half a sample": riff(chunk(b"fmt ", form()), chunk(b"data", SOUND[:-1])),
            "big endian": b"RIFX" + PLAIN[4:],
            "RF64": b"RF64" + PLAIN[4:],
            "another kind of RIFF": PLAIN[:8] + b"AVI " + PLAIN[12:],
            "data before its format": riff(DATA, chunk(b"fmt ", form())),
            "no data": riff(chunk(b"fmt ", form())),
            "two formats": riff(chunk(b"fmt ", form()), chunk(b"fmt ", form(bits=24)), DATA),
            "two data chunks": riff(chunk(b"fmt ", form()), DATA, DATA),
            "a chunk nobody knows": riff(chunk(b"fmt ", form()), chunk(b"xxxx", b"1234"), DATA),
            "an odd chunk in front": riff(chunk(b"fmt ", form()), chunk(b"LIST", b"INFO1"), DATA),
            "endless small chunks": riff(*[chunk(b"JUNK", b"")] * 1_000, chunk(b"fmt ", form()), DATA),
            "one hertz": riff(chunk(b"fmt ", form(rate=1)), DATA),
            "four gigahertz": riff(chunk(b"fmt ", form(rate=2**31 - 1)), DATA),
            "less than a sample": riff(chunk(b"fmt ", form(rate=44_100)), chunk(b"data", SOUND[:4])),
            "0 Hz": riff(chunk(b"fmt ", form(rate=0)), DATA),
            "no channel": riff(chunk(b"fmt ", form(channels=0)), DATA),
            "three channels": riff(chunk(b"fmt ", form(channels=3, bits=32)), DATA),
            "8 bits": riff(chunk(b"fmt ", form(bits=8)), DATA),
            "20 bits": riff(chunk(b"fmt ", form(bits=20)), DATA),
            "doubles": riff(chunk(b"fmt ", form(tag=3, bits=64)), DATA),
            "half floats": riff(chunk(b"fmt ", form(tag=3, bits=16)), DATA),
            "mu-law": riff(chunk(b"fmt ", form(tag=7, bits=16)), DATA),
            "frames that disagree": riff(chunk(b"fmt ", form()[:12] + b"\4\0\20\0"), DATA),
            "a rate that disagrees": riff(chunk(b"fmt ", form()[:8] + bytes(4) + form()[12:]), DATA),
            "a short format": riff(chunk(b"fmt ", form()[:14]), DATA),
            "a long format": riff(chunk(b"fmt ", form() + bytes(100)), DATA),
            "an extension that is not there": riff(chunk(b"fmt ", form() + b"\26\0"), DATA),
            "20 of 24 bits": riff(chunk(b"fmt ", extensible(1, 2, 16, valid_bits=12)), DATA),
            "a rear speaker alone": riff(chunk(b"fmt ", extensible(1, 1, 16, speakers=16)), DATA),
            "ambisonics": riff(chunk(b"fmt ", extensible(1, 2, 16)[:-1] + b"\0"), DATA),
        }.items()
    ],
)  # fmt: skip
def test_whatever_is_odd_is_left_to_ffmpeg(content: bytes) -> None:
    assert found_in(content) is None


@given(st.binary(max_size=80), st.integers(0, 60), st.binary(min_size=1, max_size=8))
@example(b"", 0, b"")
def test_no_bytes_lead_out_of_the_file(tail: bytes, at: int, patch: bytes) -> None:
    content = PLAIN[:at] + patch + PLAIN[at + len(patch) :] + tail
    found = found_in(content)
    if found is not None:
        assert found.data_bytes > 0
        assert 20 < found.data_start <= len(content) - found.data_bytes
        assert found.data_bytes % found.frame_bytes == 0


def test_a_chunk_of_four_gigabytes_is_not_read() -> None:
    huge = riff(chunk(b"fmt ", form(), 2**32 - 1))

    def read_at(at: int, size: int) -> bytes:
        assert size <= 40
        return huge[at : at + size].ljust(size, b"\0")

    assert find_plain_wav(read_at, 2**40) is None


def test_a_header_that_promises_too_much_is_told_of_and_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(riff(chunk(b"fmt ", form()), chunk(b"data", bytes(32_000), 320_000)))

    async def decoded() -> tuple[int, tuple[str, ...]]:
        with path.open("rb") as file:
            async with decode_audio(file, limits=DecodeLimits(max_audio_seconds=3)) as stream:
                return sum([len(block) async for block in stream]), stream.warnings

    length, warnings = asyncio.run(decoded())
    assert length == 32_000
    assert any("ends 9.0 s before the length it states" in warning for warning in warnings)


def test_the_length_is_limited(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(riff(chunk(b"fmt ", form()), chunk(b"data", bytes(2 * SAMPLE_RATE * 3))))
    assert len(asyncio.run(pcm(path, limits=DecodeLimits(max_audio_seconds=3)))) == 2 * SAMPLE_RATE * 3
    for seconds in (1.0, 2.9):
        with pytest.raises(AudioTooLongError, match="longer than"):
            asyncio.run(pcm(path, limits=DecodeLimits(max_audio_seconds=seconds)))
