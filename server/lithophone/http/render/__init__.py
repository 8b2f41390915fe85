"""Transcripts as documents, subtitles and events.

Owns every format a transcript leaves in. Pure: structs in, bytes out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from lithophone.engine.transcript import Transcript
from lithophone.http.forms import Granularity, Include, ResponseFormat, TranscriptionForm
from lithophone.http.render.documents import (
    diarized_transcription,
    transcription,
    translation,
    verbose_transcription,
    verbose_translation,
)
from lithophone.http.render.subtitles import render_srt, render_vtt

JSON = "application/json"


class Rendered(NamedTuple):
    """A response body and its content type; Litestar adds the charset to `text/…`."""

    media_type: str
    body: bytes


def render_transcript(transcript: Transcript, form: TranscriptionForm) -> Rendered:
    """The transcript in the format the form asks for.

    Raises:
        KeyError: a format that is not written; `support.require_supported` refuses it first.
    """
    return _RENDERERS[form.response_format](transcript, form)


def render_translation(transcript: Transcript, response_format: ResponseFormat) -> Rendered:
    """The translation in the format asked for.

    Raises:
        KeyError: a format that is not written; `support.require_translatable` refuses it first.
    """
    return _TRANSLATION_RENDERERS[response_format](transcript)


def _json(transcript: Transcript, form: TranscriptionForm) -> Rendered:
    document = transcription(transcript, logprobs=Include.LOGPROBS in form.include)
    return Rendered(JSON, msgspec.json.encode(document))


def _verbose_json(transcript: Transcript, form: TranscriptionForm) -> Rendered:
    document = verbose_transcription(transcript, words=Granularity.WORD in form.timestamp_granularities)
    return Rendered(JSON, msgspec.json.encode(document))


def _diarized_json(transcript: Transcript, _: TranscriptionForm) -> Rendered:
    return Rendered(JSON, msgspec.json.encode(diarized_transcription(transcript)))


def _text(transcript: Transcript, _: object = None) -> Rendered:
    return Rendered("text/plain", f"{transcript.text}\n".encode())


def _srt(transcript: Transcript, _: object = None) -> Rendered:
    return Rendered("application/x-subrip; charset=utf-8", render_srt(transcript.segments).encode())


def _vtt(transcript: Transcript, _: object = None) -> Rendered:
    return Rendered("text/vtt", render_vtt(transcript.segments).encode())


_RENDERERS: Mapping[ResponseFormat, Callable[[Transcript, TranscriptionForm], Rendered]] = MappingProxyType(
    {
        ResponseFormat.JSON: _json,
        ResponseFormat.TEXT: _text,
        ResponseFormat.SRT: _srt,
        ResponseFormat.VTT: _vtt,
        ResponseFormat.VERBOSE_JSON: _verbose_json,
        ResponseFormat.DIARIZED_JSON: _diarized_json,
    }
)

_TRANSLATION_RENDERERS: Mapping[ResponseFormat, Callable[[Transcript], Rendered]] = MappingProxyType(
    {
        ResponseFormat.JSON: lambda transcript: Rendered(JSON, msgspec.json.encode(translation(transcript))),
        ResponseFormat.TEXT: _text,
        ResponseFormat.SRT: _srt,
        ResponseFormat.VTT: _vtt,
        ResponseFormat.VERBOSE_JSON: lambda transcript: Rendered(
            JSON, msgspec.json.encode(verbose_translation(transcript))
        ),
    }
)
