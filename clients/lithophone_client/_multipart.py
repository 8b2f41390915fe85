"""multipart/form-data (RFC 7578) around one file that is streamed: what stands before it and what stands after.

The fields go first, so a server can refuse them before it has read the audio. This module reads no files.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MultipartForm:
    """The bytes around the file.

    Attributes:
        content_type: the header, with the boundary.
        head: the fields and the headers of the file part.
        tail: the closing boundary.
    """

    content_type: str
    head: bytes
    tail: bytes

    def content_length(self, file_bytes: int | None) -> int | None:
        """Length of the whole body, if that of the file is known."""
        return None if file_bytes is None else len(self.head) + file_bytes + len(self.tail)


def multipart_form(fields: Iterable[tuple[str, str]], file_name: str, boundary: str) -> MultipartForm:
    """Encode the fields, and make room for a part named `file`."""
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{quoted(name)}"\r\n\r\n{value}\r\n'
        for name, value in fields
    ]
    media_type = mimetypes.guess_type(file_name)[0] or "application/octet-stream"
    parts.append(
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{quoted(file_name)}"\r\n'
        f"Content-Type: {media_type}\r\n\r\n"
    )
    return MultipartForm(
        content_type=f"multipart/form-data; boundary={boundary}",
        head="".join(parts).encode(),
        tail=f"\r\n--{boundary}--\r\n".encode(),
    )


def quoted(name: str) -> str:
    """A name inside a quoted header value, escaped as browsers do (WHATWG HTML, multipart/form-data encoding)."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
