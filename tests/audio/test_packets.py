from __future__ import annotations

import subprocess

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithophone.audio.ffmpeg import bundled_ffmpeg
from lithophone.audio.packets import Packet, PacketReader
from lithophone.errors import UndecodableAudioError


def as_ffmpeg_writes(channels: int, expression: str) -> bytes:
    """Matroska on a pipe; ffmpeg behaves otherwise where it can seek."""
    source = f"anullsrc=r=16000:d=2,aeval={'|'.join(['0.25'] * channels)},{expression}"
    command = (bundled_ffmpeg(), "-v", "error", "-f", "lavfi", "-i", source, "-c:a", "pcm_f32le")
    return subprocess.run([*command, "-f", "matroska", "pipe:1"], capture_output=True, check=True).stdout


STREAM = as_ffmpeg_writes(1, "asetpts='PTS+if(gt(T,1),30/TB,0)'")


def test_what_ffmpeg_writes_comes_out_with_its_times() -> None:
    reader = PacketReader()
    packets = reader.feed(STREAM)
    assert reader.channels == 1
    assert sum(len(packet.frames) for packet in packets) == 2 * 16_000 * 4
    assert np.unique(np.frombuffer(packets[0].frames, "<f4")) == [0.25]
    starts = [packet.start_seconds for packet in packets]
    ends = [packet.start_seconds + len(packet.frames) / 4 / 16_000 for packet in packets]
    jumps = [start - end for start, end in zip(starts[1:], ends[:-1], strict=True)]
    assert starts[0] == 0
    assert max(jumps) == pytest.approx(30, abs=0.002)
    assert sum(abs(jump) > 0.002 for jump in jumps) == 1


def test_channels_are_known_before_the_first_packet() -> None:
    reader = PacketReader()
    assert reader.feed(as_ffmpeg_writes(9, "anull"))
    assert reader.channels == 9


@given(st.lists(st.integers(1, 5_000), min_size=1, max_size=30))
def test_pieces_of_any_size_give_the_same_packets(sizes: list[int]) -> None:
    reader, found, at = PacketReader(), list[Packet](), 0
    for size in sizes:
        found += reader.feed(STREAM[at : at + size])
        at += size
    found += reader.feed(STREAM[at:])
    assert found == PacketReader().feed(STREAM)


@given(st.binary(max_size=400))
def test_other_bytes_are_refused_or_held(content: bytes) -> None:
    try:
        packets = PacketReader().feed(content)
    except UndecodableAudioError:
        return
    assert sum(len(packet.frames) for packet in packets) <= len(content)
