"""The event stream parser against the WHATWG standard."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lithophone_client._sse import ServerSentEvent, SSEParser


def parse(*chunks: bytes) -> list[ServerSentEvent]:
    parser = SSEParser()
    return [event for chunk in chunks for event in parser.feed(chunk)]


def data_of(*chunks: bytes) -> list[str]:
    return [event.data for event in parse(*chunks)]


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_every_line_end_of_the_standard_ends_a_line(line_end: bytes) -> None:
    assert data_of(line_end.join([b"data: a", b"", b"data: b", b"", b""])) == ["a", "b"]


def test_a_cr_and_an_lf_in_different_chunks_are_one_line_end() -> None:
    assert data_of(b"data: a\r", b"\ndata: b\r", b"\n\r", b"\n") == ["a\nb"]


def test_an_lf_after_a_split_crlf_still_counts() -> None:
    assert data_of(b"data: a\r", b"\n", b"\n") == ["a"]


def test_data_lines_are_joined_by_line_feeds() -> None:
    assert data_of(b"data: a\ndata\ndata:  b\n\n") == ["a\n\n b"]


def test_only_one_space_after_the_colon_is_dropped() -> None:
    assert data_of(b"data:a\n\ndata: a\n\ndata:  a\n\n") == ["a", "a", " a"]


def test_comments_ids_retries_and_unknown_fields_are_read_over() -> None:
    assert data_of(b": keep-alive\nid: 7\nretry: 10\nmood: good\n\ndata: a\n\n") == ["a"]


def test_an_event_without_data_is_not_dispatched_and_leaves_no_name() -> None:
    assert parse(b"event: ping\n\ndata: a\n\n") == [ServerSentEvent("message", "a")]


def test_an_event_with_empty_data_is_dispatched() -> None:
    assert data_of(b"data\n\n", b"data:\n\n") == ["", ""]


def test_the_last_event_field_names_the_event() -> None:
    assert parse(b"event: a\nevent: error\ndata: x\n\n") == [ServerSentEvent("error", "x")]


def test_an_unfinished_event_is_dropped() -> None:
    assert data_of(b"data: a\n\ndata: b\n") == ["a"]


def test_one_byte_order_mark_is_dropped() -> None:
    assert data_of("\ufeffdata: a\n\n".encode()) == ["a"]
    assert data_of("\ufeff\ufeffdata: a\n\n".encode()) == []


def test_separators_of_other_standards_end_no_line() -> None:
    text = "a\x0b\x0c\x1c\x85\u2028\u2029b"
    assert data_of(f"data: {text}\n\n".encode()) == [text]


def test_bytes_that_are_not_utf8_are_replaced() -> None:
    assert data_of(b"data: \xff\n\n") == ["\ufffd"]


LINES = st.sampled_from(
    [
        "data: grün 🎧",
        "data:",
        "data",
        ": comment",
        "event: error",
        "id: 1",
        "",
        "",
        "other: x",
        "\ufeffdata: a",
    ]
)
STREAMS = st.lists(st.tuples(LINES, st.sampled_from(["\n", "\r", "\r\n"]))).map(
    lambda lines: "".join(line + end for line, end in lines).encode()
)


@settings(deadline=None)
@given(STREAMS, st.lists(st.integers(min_value=0, max_value=400)))
def test_the_cuts_between_chunks_change_nothing(stream: bytes, cuts: list[int]) -> None:
    edges = sorted({0, len(stream), *(min(cut, len(stream)) for cut in cuts)})
    assert parse(*(stream[start:end] for start, end in pairwise(edges))) == parse(stream)


@settings(deadline=None)
@given(STREAMS)
def test_one_byte_at_a_time_changes_nothing(stream: bytes) -> None:
    assert parse(*(bytes([byte]) for byte in stream)) == parse(stream)
