# pyright: basic, reportMissingImports=false
"""Object stores by Arrow's file systems. The only module that imports `pyarrow.fs`, hence the pyright mode: it is an extra.

S3 and what speaks its protocol, Google's and Azure's; keys and addresses come from where their own tools look for them
(`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, `~/.aws`, …) or from the location's query (`?endpoint_override=…&scheme=http`).
"""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from typing import Any, BinaryIO, Final

from lithophone.errors import ConfigurationError
from lithophone.transcribe.objects import Listed
from lithophone.transcribe.sources import State

SCHEMES: Final = ("s3", "gs", "abfss")
COPY_BYTES: Final = 1 << 20


def require_arrow(what: str) -> None:
    """Check that Arrow can be imported; `what` needs it.

    Raises:
        ConfigurationError: it is not installed.
    """
    if find_spec("pyarrow") is None:
        raise ConfigurationError(f"{what} needs pyarrow: pip install 'lithophone[archive]'")


def open_store(location: str) -> tuple[ArrowStore, str]:
    """The store of a location, and the key there; the bucket is its first part.

    Raises:
        ConfigurationError: there is no such store, or no key.
    """
    scheme = location.partition("://")[0]
    if scheme not in SCHEMES:
        known = ", ".join(f"{known}://" for known in SCHEMES)
        raise ConfigurationError(f"{scheme}:// is not a store of recordings; {known} are")
    require_arrow(f"{scheme}://")
    from pyarrow import fs  # noqa: PLC0415 - an extra

    try:
        system, key = fs.FileSystem.from_uri(location)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{location.partition('?')[0]}: {error}") from None
    if not key.strip("/"):
        raise ConfigurationError(f"{scheme}:// wants the name of a bucket behind it")
    return ArrowStore(scheme, system), key.rstrip("/")


class ArrowStore:
    """See `ObjectStore`.

    Args:
        scheme: What its addresses begin with.
        system: A file system of Arrow.
    """

    def __init__(self, scheme: str, system: Any) -> None:
        self.scheme = scheme
        self._system = system

    def find(self, key: str, *, recursive: bool) -> list[Listed]:
        """See `ObjectStore`."""
        from pyarrow import fs  # noqa: PLC0415 - an extra

        found = [self._system.get_file_info(key)]
        if found[0].type is not fs.FileType.File:
            below = fs.FileSelector(key, recursive=recursive, allow_not_found=True)
            found = self._system.get_file_info(below)
        return [
            Listed(info.path, State(info.size, info.mtime_ns))
            for info in found
            if info.type is fs.FileType.File
        ]

    def read(self, key: str) -> bytes:
        """See `ObjectStore`."""
        with self._system.open_input_stream(key) as stream:
            return stream.read()

    def fetch(self, key: str, file: BinaryIO) -> None:
        """See `ObjectStore`."""
        with self._system.open_input_stream(key) as stream:
            shutil.copyfileobj(stream, file, COPY_BYTES)

    def write(self, key: str, content: bytes) -> None:
        """See `ObjectStore`."""
        with self._system.open_output_stream(key) as stream:
            stream.write(content)

    def delete(self, key: str) -> None:
        """See `ObjectStore`."""
        self._system.delete_file(key)
