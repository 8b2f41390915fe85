"""A transcript in any of the formats.

Owns which writer makes which format, and its content type. Pure: structs in, bytes out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from lithophone.engine.transcript import Transcript
from lithophone.formats.documents import (
    diarized_transcription,
    transcription,
    translation,
    verbose_transcription,
    verbose_translation,
)
from lithophone.formats.names import ResponseFormat
from lithophone.formats.subtitles import render_srt, render_vtt

JSON = "application/json"


class RenderOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to write a transcript.

    `words` and `segments` are listed in `verbose_json`, `logprobs` in `json`; a `translation` is written as OpenAI writes one.
    """

    response_format: ResponseFormat = ResponseFormat.JSON
    words: bool = False
    segments: bool = True
    logprobs: bool = False
    translation: bool = False


class Rendered(NamedTuple):
    """A document and its content type, without the charset of `text/…`."""

    media_type: str
    body: bytes


def render(transcript: Transcript, options: RenderOptions) -> Rendered:
    """The transcript as a document.

    Raises:
        KeyError: a translation as `diarized_json`: nobody says who speaks in it.
    """
    writers = _TRANSLATION_WRITERS if options.translation else _WRITERS
    return writers[options.response_format](transcript, options)


def _json(transcript: Transcript, options: RenderOptions) -> Rendered:
    return _document(transcription(transcript, logprobs=options.logprobs))


def _verbose_json(transcript: Transcript, options: RenderOptions) -> Rendered:
    return _document(verbose_transcription(transcript, words=options.words, segments=options.segments))


def _diarized_json(transcript: Transcript, _: RenderOptions) -> Rendered:
    return _document(diarized_transcription(transcript))


def _translated_json(transcript: Transcript, _: RenderOptions) -> Rendered:
    return _document(translation(transcript))


def _translated_verbose_json(transcript: Transcript, _: RenderOptions) -> Rendered:
    return _document(verbose_translation(transcript))


def _text(transcript: Transcript, _: RenderOptions) -> Rendered:
    return Rendered("text/plain", f"{transcript.text}\n".encode())


def _srt(transcript: Transcript, _: RenderOptions) -> Rendered:
    return Rendered("application/x-subrip; charset=utf-8", render_srt(transcript.segments).encode())


def _vtt(transcript: Transcript, _: RenderOptions) -> Rendered:
    return Rendered("text/vtt", render_vtt(transcript.segments).encode())


def _document(content: msgspec.Struct) -> Rendered:
    return Rendered(JSON, msgspec.json.encode(content))


_Writer = Callable[[Transcript, RenderOptions], Rendered]

_PLAIN_WRITERS: Mapping[ResponseFormat, _Writer] = {
    ResponseFormat.TEXT: _text,
    ResponseFormat.SRT: _srt,
    ResponseFormat.VTT: _vtt,
}

_WRITERS: Mapping[ResponseFormat, _Writer] = MappingProxyType(
    {
        **_PLAIN_WRITERS,
        ResponseFormat.JSON: _json,
        ResponseFormat.VERBOSE_JSON: _verbose_json,
        ResponseFormat.DIARIZED_JSON: _diarized_json,
    }
)

_TRANSLATION_WRITERS: Mapping[ResponseFormat, _Writer] = MappingProxyType(
    {
        **_PLAIN_WRITERS,
        ResponseFormat.JSON: _translated_json,
        ResponseFormat.VERBOSE_JSON: _translated_verbose_json,
    }
)
