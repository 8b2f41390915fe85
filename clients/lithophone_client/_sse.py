"""Server-sent events, parsed as the WHATWG HTML standard says (section "Interpreting an event stream").

Bytes go in as they arrive, whole events come out, whatever the cuts between the chunks. `id` and `retry` are read
over: they matter to a client that reconnects, and a transcription cannot be resumed. This module knows neither JSON
nor what the events mean.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass

_LINE_END = re.compile(r"\r\n|\n|\r")
_BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event: its type (`message` if the server named none) and its data lines joined by line feeds."""

    event: str
    data: str


class SSEParser:
    """Turns the bytes of one event stream into events. An event the stream breaks off in is dropped."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._at_start = True
        self._after_cr = False
        self._rest = ""
        self._event = ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> Iterator[ServerSentEvent]:
        """Take the next bytes and yield the events they complete."""
        for line in self._lines(self._decoder.decode(chunk)):
            if line:
                self._take_field(line)
            elif (event := self._dispatch()) is not None:
                yield event

    def _lines(self, text: str) -> list[str]:
        if not text:
            return []
        if self._at_start:
            text = text.removeprefix(_BYTE_ORDER_MARK)
            self._at_start = False
        if self._after_cr:  # the CR has ended its line already; an LF next to it ends nothing
            text = text.removeprefix("\n")
        *lines, rest = _LINE_END.split(self._rest + text)
        self._after_cr = text.endswith("\r")
        self._rest = rest
        return lines

    def _take_field(self, line: str) -> None:
        name, _, value = line.partition(":")  # a comment has an empty name
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value

    def _dispatch(self) -> ServerSentEvent | None:
        event = ServerSentEvent(self._event or "message", "\n".join(self._data)) if self._data else None
        self._event = ""
        self._data = []
        return event
