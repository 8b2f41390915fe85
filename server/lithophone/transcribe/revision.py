"""Which weights a checkpoint's folder holds."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import BinaryIO, Final

SAMPLED_BYTES: Final = 1 << 16
"""Of each end of a file: of weights the tensors' names, shapes and places, and the last ones' values."""

SNAPSHOTS: Final = "snapshots"


def revision_of(folder: Path) -> str:
    """The commit, in the hub's cache; of any other folder a digest of its files' names, sizes and ends.

    Raises:
        OSError: a file cannot be read.
    """
    if folder.parent.name == SNAPSHOTS:
        return folder.name
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        size = path.stat().st_size
        digest.update(f"{path.name}\0{size}\0".encode())
        with path.open("rb") as file:
            digest.update(_ends(file, size))
    return digest.hexdigest()[:40]


def _ends(file: BinaryIO, size: int) -> bytes:
    head = file.read(SAMPLED_BYTES)
    file.seek(max(len(head), size - SAMPLED_BYTES))
    return head + file.read(SAMPLED_BYTES)
