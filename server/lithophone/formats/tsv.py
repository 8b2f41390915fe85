"""A table with a line for each segment, as whisper's command line writes one.

Source: `WriteTSV` in https://github.com/openai/whisper/blob/main/whisper/utils.py. Times are whole milliseconds, so that no
language's decimal comma gets in the way.
"""

from __future__ import annotations

from collections.abc import Iterable

from lithophone.engine.transcript import Segment
from lithophone.formats.times import milliseconds


def render_tsv(segments: Iterable[Segment]) -> str:
    """Start, end and text behind tabs, under a header. Silence has no line; tabs and line ends in a text become spaces."""
    lines = (
        f"{milliseconds(segment.start_seconds)}\t{milliseconds(segment.end_seconds)}\t{_cell(segment.text)}\n"
        for segment in segments
        if segment.text
    )
    return "".join(("start\tend\ttext\n", *lines))


def _cell(text: str) -> str:
    return " ".join(text.strip().replace("\t", " ").splitlines())
