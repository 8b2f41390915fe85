from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lithophone.backends.base import RecognitionRequest
from lithophone.hosts.frames import encode, read_frame
from lithophone.worker.messages import Cancel, Recognise


def written(*messages: object) -> bytes:
    return b"".join(bytes(part) for message in messages for part in encode(message))


def reader(data: bytes) -> io.BytesIO:
    return io.BytesIO(data)


def exactly(stream: io.BytesIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data


@given(st.lists(st.integers(0, 50_000), max_size=5), st.floats(0, 1))
def test_messages_come_out_as_they_went_in(lengths: list[int], temperature: float) -> None:
    sent = [
        Recognise(
            number,
            7,
            RecognitionRequest(samples=np.arange(length, dtype=np.float32), temperature=temperature),
        )
        for number, length in enumerate(lengths)
    ]
    stream = reader(written(*sent, Cancel(3)))
    for message in sent:
        got = read_frame(lambda size: exactly(stream, size))
        assert (got.work_id, got.request.temperature) == (message.work_id, temperature)
        np.testing.assert_array_equal(got.request.samples, message.request.samples)
    assert read_frame(lambda size: exactly(stream, size)) == Cancel(3)


def test_samples_are_neither_pickled_nor_copied() -> None:
    samples = np.zeros(480_000, np.float32)
    head, pickled, raw = encode(Recognise(1, 1, RecognitionRequest(samples=samples)))
    assert len(head) + len(pickled) < 2_000
    assert isinstance(raw, memoryview)
    assert np.shares_memory(np.frombuffer(raw, np.float32), samples)


def test_a_frame_that_breaks_off_is_an_end() -> None:
    data = written(Cancel(1))
    for length in range(len(data)):
        stream = reader(data[:length])
        with pytest.raises(EOFError):
            read_frame(lambda size, stream=stream: exactly(stream, size))
