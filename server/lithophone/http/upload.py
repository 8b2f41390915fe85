"""Reading a multipart body: text fields into memory, the file to disk.

Owns the limits of both and what a broken body means. Litestar's own form keeps a text part of any size in memory, loses
the order of the parts, and says nothing of which part was wrong; hence its parser is used here, not its form.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, NamedTuple

from litestar import Request
from litestar.exceptions import ClientException, InternalServerException
from multipart import (  # pyright: ignore[reportMissingTypeStubs] - it has annotations, but no py.typed
    MultipartError,
    MultipartSegment,
    ParserLimitReached,
    PushMultipartParser,
)

from lithophone.errors import (
    InvalidRequestError,
    PayloadTooLargeError,
    RequestCancelledError,
    UploadStalledError,
)
from lithophone.http.options import FORM_OVERHEAD_BYTES, HttpOptions
from lithophone.http.quoting import quote
from lithophone.http.storage import StoredUpload

FILE_FIELD = "file"
MAX_PARTS = 200
WRITE_BYTES = 1 << 20

_EXTENDED_FILE_NAME = re.compile(r";\s*filename\*\s*=\s*[^\s;]", re.IGNORECASE)


class UploadedForm(NamedTuple):
    """The text parts in their order, whether the file part came, and the names of other parts that are files."""

    fields: tuple[tuple[str, str], ...]
    has_file: bool
    other_files: tuple[str, ...] = ()


def refuse_oversized(request: Request[Any, Any, Any], options: HttpOptions) -> None:
    """Look at the announced length alone.

    Raises:
        PayloadTooLargeError: more than the server allows.
    """
    announced = request.content_length
    if announced is not None and announced > options.max_body_bytes:
        raise _too_large(options)


async def read_form(
    request: Request[Any, Any, Any], options: HttpOptions, spool: StoredUpload
) -> UploadedForm:
    """Read the body to its end; the file part goes to `spool`, which is not rewound. Other files are kept nowhere.

    Raises:
        InvalidRequestError: not multipart, broken, not UTF-8, or two files.
        UploadStalledError: nothing came for too long, or less than must come in that time.
        OverloadedError: uploads fill the room for them.
        ShortageError: the disk does not take it.
        PayloadTooLargeError: the file, or the text beside it, is larger than allowed.
        RequestCancelledError: the client left.
    """
    reader = _PartReader(spool, options)
    try:
        with _parser(request) as parser:
            async with aclosing(_chunks(request, options)) as chunks:
                async for chunk in chunks:
                    if not parser.closed:
                        for event in parser.parse(chunk):
                            reader.take(event)
                    await reader.write_much()
    except ParserLimitReached:
        raise InvalidRequestError(
            f"The form has too many parts (over {MAX_PARTS}) or a part with long headers."
        ) from None
    except MultipartError as error:
        raise InvalidRequestError(f"The multipart body is broken: {error}") from None
    reader.write_rest()
    return UploadedForm(tuple(reader.fields), reader.has_file, tuple(reader.other_files))


class _PartReader:
    """Sorts the parser's events into fields and file."""

    def __init__(self, spool: StoredUpload, options: HttpOptions) -> None:
        self.fields: list[tuple[str, str]] = []
        self.has_file = False
        self.other_files: list[str] = []
        self._spool = spool
        self._options = options
        self._part: MultipartSegment | None = None
        self._is_file = False
        self._text = bytearray()
        self._text_bytes = 0
        self._file_bytes = 0
        self._unwritten = bytearray()

    def take(self, event: MultipartSegment | bytes | bytearray | None) -> None:
        """One event: a part begins, goes on, or ends (`None`)."""
        if isinstance(event, MultipartSegment):
            self._begin(event)
        elif event is None:
            self._end()
        elif not self._is_file:
            self._add_to_text(event)
        elif self._part is not None and self._part.name == FILE_FIELD:
            self._add_to_file(event)

    async def write_much(self) -> None:
        """Write to disk, off the event loop, once much is waiting."""
        if len(self._unwritten) >= WRITE_BYTES:
            unwritten, self._unwritten = self._unwritten, bytearray()
            await asyncio.to_thread(self._spool.write, unwritten)

    def write_rest(self) -> None:
        """Write what is left: the system takes that little into its cache sooner than a thread would begin."""
        self._spool.write(self._unwritten)
        self._unwritten = bytearray()

    def _begin(self, part: MultipartSegment) -> None:
        self._part = part
        self._is_file = _has_file_name(part)
        self._text.clear()
        if not self._is_file:
            return
        if part.name != FILE_FIELD:
            self.other_files.append(part.name or "")
            return
        if self.has_file:
            raise InvalidRequestError("Only one file can be transcribed at a time.", param=FILE_FIELD)
        self.has_file = True

    def _end(self) -> None:
        if self._part is not None and not self._is_file:
            self.fields.append((self._part.name or "", self._decoded(self._part)))
        self._part = None

    def _add_to_file(self, data: bytes | bytearray) -> None:
        self._file_bytes += len(data)
        if self._file_bytes > self._options.max_upload_bytes:
            raise _too_large(self._options)
        self._spool.reserve(len(data))
        self._unwritten += data

    def _add_to_text(self, data: bytes | bytearray) -> None:
        self._text_bytes += len(data)
        if self._text_bytes > FORM_OVERHEAD_BYTES:
            raise PayloadTooLargeError(
                f"The text fields are larger than {FORM_OVERHEAD_BYTES} bytes together.",
                param=None if self._part is None else self._part.name,
            )
        self._text += data

    def _decoded(self, part: MultipartSegment) -> str:
        try:
            return self._text.decode()
        except UnicodeDecodeError:
            hint = f" Send the audio with a file name (curl: -F {FILE_FIELD}=@recording.wav)."
            raise InvalidRequestError(
                f"`{part.name}` is not UTF-8 text.{hint if part.name == FILE_FIELD else ''}", param=part.name
            ) from None


def _has_file_name(part: MultipartSegment) -> bool:
    """Whether a part is a file; the name may be written as RFC 5987 has it alone, `filename*=utf-8''a.wav`."""
    if part.filename is not None:
        return part.filename != ""
    dispositions = (value for name, value in part.headerlist if name == "Content-Disposition")
    return any(_EXTENDED_FILE_NAME.search(value) for value in dispositions)


async def _chunks(request: Request[Any, Any, Any], options: HttpOptions) -> AsyncGenerator[bytes, None]:
    """The body as it comes, its total size, its pauses and its pace limited."""
    patience = _Patience(options)
    async with aclosing(request.stream()) as stream:
        while True:
            try:
                async with asyncio.timeout(patience.seconds_left()):
                    chunk = await anext(stream, b"")
            except TimeoutError:
                raise UploadStalledError(patience.complaint) from None
            except InternalServerException:  # what Litestar makes of a client that leaves
                raise RequestCancelledError("The client left during the upload.") from None
            except ClientException:  # the only one a stream raises: longer than `request_max_body_size`
                raise _too_large(options) from None
            if not chunk:
                return
            patience.received_bytes += len(chunk)
            yield chunk


class _Patience:
    """How long a body is waited for: it may pause, but not for long, and must come at some pace altogether."""

    def __init__(self, options: HttpOptions) -> None:
        self.received_bytes = 0
        self._options = options
        self._started = time.monotonic()

    @property
    def complaint(self) -> str:
        """What to say when it is over."""
        return (
            f"The upload stood still for {self._options.upload_idle_seconds:g} s, came more slowly than "
            f"{self._options.upload_bytes_per_second} bytes a second, or took over {self._options.upload_seconds:g} s."
        )

    def seconds_left(self) -> float:
        """For the next bytes."""
        options = self._options
        elapsed = time.monotonic() - self._started
        earned = (
            self.received_bytes / options.upload_bytes_per_second
            if options.upload_bytes_per_second
            else math.inf
        )
        left = min(options.upload_idle_seconds + earned, options.upload_seconds or math.inf) - elapsed
        return max(0.0, min(options.upload_idle_seconds, left))


def _parser(request: Request[Any, Any, Any]) -> PushMultipartParser:
    """Part headers are read as Latin-1, which cannot fail: a file's name is of no interest."""
    return PushMultipartParser(_boundary(request), max_segment_count=MAX_PARTS, header_charset="latin-1")


def _boundary(request: Request[Any, Any, Any]) -> str:
    content_type, parameters = request.content_type
    if content_type != "multipart/form-data":
        raise InvalidRequestError(
            "Send the request as multipart/form-data with the audio in `file`, "
            f"not as {quote(content_type) if content_type else 'a body without content type'}.",
            param=FILE_FIELD,
        )
    boundary = parameters.get("boundary")
    if not boundary:
        raise InvalidRequestError("The Content-Type names no multipart boundary.", param=FILE_FIELD)
    return boundary


def _too_large(options: HttpOptions) -> PayloadTooLargeError:
    return PayloadTooLargeError(
        f"The upload is larger than the {options.max_upload_bytes} bytes allowed.", param=FILE_FIELD
    )
