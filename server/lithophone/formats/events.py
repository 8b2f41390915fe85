"""A transcription as server-sent events.

Owns the events of a transcript and how any event is written: its name, one line of JSON, and `[DONE]` behind the last if all went
well.
Source: https://html.spec.whatwg.org/multipage/server-sent-events.html.
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET

from lithophone.engine.transcript import Segment, Transcript
from lithophone.formats.documents import (
    SpeakerLabels,
    detected_languages,
    diarized_segment,
    segment_id,
    timed_words,
    token_logprobs,
    token_usage,
)
from lithophone.formats.shapes import TextDelta, TextDone

DONE = b"data: [DONE]\n\n"

# Line ends to Python's str.splitlines, which simple clients use; JSON may carry them as escapes.
_LINE_ENDS = tuple((end.encode(), f"\\u{ord(end):04x}".encode()) for end in "\u0085\u2028\u2029")


def delta_event(segment: Segment, *, logprobs: bool, named: bool = False, words: bool = False) -> bytes:
    """`transcript.text.delta`: what the segment adds; `named` with the segment's id, with its `words` and their times."""
    delta = TextDelta(
        delta=segment.delta,
        segment_id=segment_id(segment) if named else UNSET,
        logprobs=token_logprobs((segment,)) if logprobs else UNSET,
        words=timed_words(segment.words) if words else UNSET,
    )
    return event(delta.type, delta)


def segment_event(segment: Segment, labels: SpeakerLabels) -> bytes:
    """`transcript.text.segment`: who said it, and when."""
    told = diarized_segment(segment, labels)
    return event(told.type, told)


def done_event(transcript: Transcript, *, logprobs: bool) -> bytes:
    """`transcript.text.done`: the whole."""
    done = TextDone(
        text=transcript.text,
        usage=token_usage(transcript.usage),
        languages=detected_languages(transcript),
        logprobs=token_logprobs(transcript.segments) if logprobs else UNSET,
    )
    return event(done.type, done)


def event(name: str, data: msgspec.Struct) -> bytes:
    """An event: its name, then the struct in one line of JSON, whatever a client takes for the end of a line.

    OpenAI's SDKs read the type in the data; others drop an event without a name.
    """
    line = msgspec.json.encode(data)
    for end, escape in _LINE_ENDS:
        line = line.replace(end, escape)
    return f"event: {name}\n".encode() + b"data: " + line + b"\n\n"
