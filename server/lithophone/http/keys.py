"""The keys that open the server, and whose they are.

Owns comparing them, and the file they may be in: it holds no key but its hash, a name, and what its owner may take. The file
is read again when it has changed; one that cannot be read then leaves the keys as they were.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

import msgspec
import structlog

from lithophone.engine.fairness import Client
from lithophone.errors import ConfigurationError

log = structlog.get_logger(__name__)

LOOK_AGAIN_SECONDS: Final = 1.0


class NamedKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One entry of a keys file. `0` leaves a limit to the server's own."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._@-]{1,64}$")]
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-fA-F]{64}$")]
    max_requests: Annotated[int, msgspec.Meta(ge=0)] = 0
    max_audio_seconds: Annotated[float, msgspec.Meta(ge=0)] = 0.0

    @property
    def client(self) -> Client:
        """Its owner."""
        return Client(self.name, self.max_requests, self.max_audio_seconds)


class _Entries(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keys: tuple[NamedKey, ...]


class KeysFile:
    """Keys from a file in TOML, one `[[keys]]` with `name` and `sha256` for each.

    Raises:
        ConfigurationError: it cannot be read, or holds no key.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._looked = time.monotonic()
        self._seen = _state(path)
        self._clients = _read(path)

    @property
    def clients(self) -> Mapping[bytes, Client]:
        """Owner by the digest of the key, as the file has it now."""
        if time.monotonic() - self._looked >= LOOK_AGAIN_SECONDS:
            self._looked = time.monotonic()
            self._reread()
        return self._clients

    def _reread(self) -> None:
        state = _state(self._path)
        if state == self._seen:
            return
        self._seen = state
        try:
            self._clients = _read(self._path)
        except ConfigurationError as error:
            log.warning("keys_not_reread", reason=error.message)
        else:
            log.info("keys_reread", keys=len(self._clients))


class Keys:
    """All keys; without any the server is open to everybody.

    Args:
        plain: Keys as they are shown. Their owners are called by their place in the list.
        file: More keys.
    """

    def __init__(self, plain: Sequence[str] = (), file: KeysFile | None = None) -> None:
        self._plain = {_digest(key): Client(f"key {number}") for number, key in enumerate(plain, 1)}
        self._file = file

    @property
    def are_asked_for(self) -> bool:
        """Whether there are any."""
        return bool(self._plain) or self._file is not None

    def owner_of(self, shown: str) -> Client | None:
        """Whose key this is. Compares with every key in constant time, so that time tells nothing about any."""
        digest = _digest(shown)
        from_file: Mapping[bytes, Client] = {} if self._file is None else self._file.clients
        found: Client | None = None
        for known, client in {**self._plain, **from_file}.items():
            if hmac.compare_digest(known, digest):
                found = client
        return found


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode(errors="surrogateescape")).digest()


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(path: Path) -> Mapping[bytes, Client]:
    try:
        entries = msgspec.toml.decode(path.read_bytes(), type=_Entries).keys
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigurationError(f"the keys file {path} cannot be read: {reason}") from None
    if not entries:
        raise ConfigurationError(f"the keys file {path} holds no key")
    if len({entry.name for entry in entries}) < len(entries):
        raise ConfigurationError(f"the keys file {path} has two keys of one name")
    return {bytes.fromhex(entry.sha256): entry.client for entry in entries}
