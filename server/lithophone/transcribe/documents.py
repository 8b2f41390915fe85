"""The documents a transcript is written as, by the names the command line has for them. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from lithophone.engine.transcript import Transcript
from lithophone.formats.columns import word_columns
from lithophone.formats.cues import USUAL_LIMITS, CueLimits
from lithophone.formats.names import ResponseFormat
from lithophone.formats.rendering import RenderOptions, render
from lithophone.formats.subtitles import render_srt, render_vtt
from lithophone.formats.tsv import render_tsv


class OutputFormat(StrEnum):
    """A document, by the suffix of its file."""

    TXT = "txt"
    SRT = "srt"
    VTT = "vtt"
    JSON = "json"
    TSV = "tsv"
    PARQUET = "parquet"


TEXTS: Final = (OutputFormat.TXT, OutputFormat.SRT, OutputFormat.VTT, OutputFormat.JSON, OutputFormat.TSV)
"""What is for people to read; `parquet` is not, and needs a library of its own."""


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """How documents are written: `words` are listed in `json`, `limits` hold for subtitles."""

    words: bool = False
    limits: CueLimits = USUAL_LIMITS
    translation: bool = False


def write_document(
    transcript: Transcript, output_format: OutputFormat, layout: Layout, file: str = ""
) -> bytes:
    """The transcript in a format; `txt`, `srt`, `vtt` and `json` (verbose) are the answers of the server.

    Args:
        transcript: What was heard.
        output_format: How it is written.
        layout: The same for all of them.
        file: The recording's name, for `parquet`, whose rows have it.
    """
    match output_format:
        case OutputFormat.SRT:
            return render_srt(transcript.segments, layout.limits).encode()
        case OutputFormat.VTT:
            return render_vtt(transcript.segments, layout.limits).encode()
        case OutputFormat.TSV:
            return render_tsv(transcript.segments).encode()
        case OutputFormat.TXT:
            return render(transcript, RenderOptions(response_format=ResponseFormat.TEXT)).body
        case OutputFormat.JSON:
            options = RenderOptions(
                response_format=ResponseFormat.VERBOSE_JSON,
                words=layout.words and not layout.translation,
                translation=layout.translation,
            )
            return render(transcript, options).body
        case OutputFormat.PARQUET:
            from lithophone.transcribe.parquet import write_parquet  # noqa: PLC0415 - an extra

            return write_parquet(word_columns(transcript), file)
