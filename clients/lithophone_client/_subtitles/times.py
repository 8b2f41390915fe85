"""Seconds as the formats write them.

A time is rounded to whole milliseconds once, before it is split: rounding the parts gives `00:00:01,1000`.
"""

from __future__ import annotations


def milliseconds(seconds: float) -> int:
    """Whole milliseconds, rounded."""
    return round(seconds * 1000)


def wire_seconds(seconds: float) -> float:
    """Seconds to the millisecond, for JSON."""
    return milliseconds(seconds) / 1000


def clock(time_ms: int, decimal_mark: str) -> str:
    """`HH:MM:SS` and three digits behind `decimal_mark`; hours have two digits or more."""
    seconds, thousandths = divmod(time_ms, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{decimal_mark}{thousandths:03}"
