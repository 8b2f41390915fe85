"""Whatever is said, each event is its name and one line, and says it."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from lithophone.formats.events import event
from lithophone.formats.shapes import TextDelta
from lithophone_client._sse import SSEParser

ANYTHING = st.text(
    st.characters(exclude_categories=["Cs"]) | st.sampled_from("\r\n\u0085\u2028\u2029\x00\ufeff:")
)


@given(st.lists(ANYTHING, max_size=5), st.integers(1, 40))
def test_what_is_said_arrives_through_any_stream(said: list[str], cut_bytes: int) -> None:
    written = b"".join(event("transcript.text.delta", TextDelta(delta=text)) for text in said)
    for end in ("\u0085", "\u2028", "\u2029"):
        assert end.encode() not in written
    parser = SSEParser()
    cuts = range(0, len(written), cut_bytes)
    events = [found for start in cuts for found in parser.feed(written[start : start + cut_bytes])]
    assert [json.loads(found.data)["delta"] for found in events] == said
    assert {found.event for found in events} <= {"transcript.text.delta"}
