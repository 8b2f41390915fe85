"""The names of the formats and of what they may show."""

from __future__ import annotations

from enum import StrEnum


class ResponseFormat(StrEnum):
    """How the transcript is written."""

    JSON = "json"
    TEXT = "text"
    SRT = "srt"
    VTT = "vtt"
    VERBOSE_JSON = "verbose_json"
    DIARIZED_JSON = "diarized_json"


UNDIARIZED = tuple(written for written in ResponseFormat if written is not ResponseFormat.DIARIZED_JSON)
"""Formats that need no speakers: those of a translation."""


class Granularity(StrEnum):
    """What gets times in `verbose_json`."""

    WORD = "word"
    SEGMENT = "segment"
