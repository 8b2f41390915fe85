"""What models were seen to take of this machine's memory, kept from one start to the next.

Owns the file. It is a help, not a truth: where it cannot be read or written, nothing is known yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

import msgspec
import structlog

from lithophone.backends.base import BackendInfo
from lithophone.backends.device.plan import DeviceWishes

log = structlog.get_logger(__name__)

FILE_NAME = "measured.json"


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """The most memory a model was seen to take: loading it, and the largest batch it has served."""

    model: str
    device: str
    dtype: str
    quantization: str
    memory_bytes: int

    def meets(self, wishes: DeviceWishes) -> bool:
        """Whether the model would be loaded in this way again."""
        return (
            wishes.device in {"auto", self.device}
            and wishes.dtype in {"auto", self.dtype}
            and wishes.quantization == self.quantization
        )


class MeasuredMemory:
    """The measurements of a machine, the latest last.

    Args:
        path: Of the file; need not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._all = _read(path)

    def __iter__(self) -> Iterator[Measurement]:
        return iter(self._all)

    def expected_bytes(self, model_id: str, wishes: DeviceWishes) -> int:
        """What the model took when it was loaded in this way last; 0 if it never was."""
        return next(
            (one.memory_bytes for one in reversed(self._all) if one.model == model_id and one.meets(wishes)),
            0,
        )

    def record(self, info: BackendInfo, wishes: DeviceWishes, memory_bytes: int) -> None:
        """Keep what a loaded model takes."""
        new = Measurement(
            model=info.model_id,
            device=info.device,
            dtype=info.dtype,
            quantization=wishes.quantization,
            memory_bytes=memory_bytes,
        )
        self._all = [one for one in self._all if _what(one) != _what(new)] + [new]
        try:
            _write(self._path, self._all)
        except OSError as error:
            log.debug("measurement_not_kept", reason=str(error))


def measured_path(environ: Mapping[str, str]) -> Path:
    """Where the file is: in `$XDG_CACHE_HOME`, or else in `~/.cache`."""
    cache = environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "lithophone" / FILE_NAME


def _what(one: Measurement) -> tuple[str, ...]:
    return one.model, one.device, one.dtype, one.quantization


def _read(path: Path) -> list[Measurement]:
    with suppress(OSError, msgspec.DecodeError):
        return msgspec.json.decode(path.read_bytes(), type=list[Measurement])
    return []


def _write(path: Path, measurements: list[Measurement]) -> None:
    """In one move, since other servers of this person may read it now."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(msgspec.json.format(msgspec.json.encode(measurements), indent=2))
    Path(file.name).replace(path)
