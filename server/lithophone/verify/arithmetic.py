"""Our way beside transformers' own on the same weights, in each number format: `lithophone bench`, once for each.

Every run has a process of its own, which gives all of its memory back.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from lithophone.bench.report import BenchReport
from lithophone.errors import StartupError

BATCHES: Final = "1,2"


class _Entry(msgspec.Struct, frozen=True):
    file: str
    text: str | None


def measure(
    flags: Sequence[str], dtype: str, recordings: Sequence[tuple[Path, str | None]], folder: Path
) -> BenchReport:
    """One number format.

    Args:
        flags: Which model, where.
        dtype: The format.
        recordings: What is heard, the beginning of each, and what is said in it.
        folder: To write the list of them into.

    Raises:
        StartupError: the model cannot be loaded in it.
    """
    entries = [_Entry(str(file.absolute()), text) for file, text in recordings]
    (folder / "manifest.jsonl").write_bytes(msgspec.json.Encoder().encode_lines(entries))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "lithophone", "bench", *flags, "--dtype", dtype, "--audio", str(folder)),
            *("--batch", BATCHES, "--repeats", "1", "--no-roofline", "--json"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["bench ended without a word"]
        raise StartupError(said[-1].removeprefix("lithophone: "))
    return msgspec.json.decode(done.stdout, type=BenchReport)
