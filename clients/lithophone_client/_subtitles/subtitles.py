"""SubRip and WebVTT.

Sources: https://www.w3.org/TR/webvtt1/ for WebVTT; SubRip has no standard, players agree on what is written here.
"""

from __future__ import annotations

from collections.abc import Iterable

from lithophone_client._subtitles.cues import USUAL_LIMITS, Cue, CueLimits, cues
from lithophone_client._subtitles.times import clock
from lithophone_client._subtitles.words import Segment


def render_srt(segments: Iterable[Segment], limits: CueLimits = USUAL_LIMITS) -> str:
    """SubRip: numbered from 1, comma before the milliseconds."""
    blocks = (
        f"{number}\n{clock(cue.start_ms, ',')} --> {clock(cue.end_ms, ',')}\n{_text(cue)}\n"
        for number, cue in enumerate(cues(segments, limits), start=1)
    )
    return "\n".join(blocks)


def render_vtt(segments: Iterable[Segment], limits: CueLimits = USUAL_LIMITS) -> str:
    """WebVTT: `&`, `<` and `>` are escaped, so no text is taken for a tag or an arrow."""
    blocks = (
        f"{clock(cue.start_ms, '.')} --> {clock(cue.end_ms, '.')}\n{_escape(_text(cue))}\n"
        for cue in cues(segments, limits)
    )
    return "\n".join(("WEBVTT\n", *blocks))


def _text(cue: Cue) -> str:
    return "\n".join(cue.lines)


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
