"""The weight files of a checkpoint's folder, and whether they are those of the model.

Owns which files there are, what their headers say, and what is made of transformers' report about weights that
are missing, of another shape, or have no place in the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import torch
from msgspec import Meta
from safetensors import safe_open
from torch import Tensor

from lithophone.backends.transformers_backend.folder import is_there, read_json, require_file
from lithophone.backends.transformers_backend.refusals import first_line, refuse_unusable
from lithophone.errors import CheckpointError
from lithophone.hub.layout import INDEX_BYTES, WEIGHTS, WEIGHTS_INDEX

FILE_BYTES: Final = 1 << 40  # any size: what memory it takes is judged by the configuration

COMPUTED = (".inv_freq", ".position_ids", ".attention_dists")
"""Ends of names of tensors that the model computes itself; older versions of transformers saved them."""


_DTYPES: Final = {"BF16": torch.bfloat16, "F16": torch.float16}


class LoadReport(msgspec.Struct, frozen=True):
    """Names of weights that did not go where they belong; shapes are (in the file, in the model)."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]

    @classmethod
    def of(cls, report: Mapping[str, Any]) -> LoadReport:
        """From transformers' own."""
        return cls(
            tuple(sorted(report["missing_keys"])),
            tuple(sorted(name for name in report["unexpected_keys"] if not name.endswith(COMPUTED))),
            tuple(
                (name, tuple(found), tuple(wanted))
                for name, found, wanted in sorted(report["mismatched_keys"], key=lambda entry: entry[0])
            ),
        )


class _Index(msgspec.Struct, frozen=True):
    """Which file holds which tensor."""

    weight_map: Annotated[dict[str, str], Meta(min_length=1)]


def read_shapes(folder: Path) -> dict[str, Tensor]:
    """The weights of a folder as tensors without memory, from the headers of its files.

    Raises:
        CheckpointError: a file is missing or damaged; names it.
    """
    shapes: dict[str, Tensor] = {}
    for file in _weight_files(folder):
        with open_weights(file) as weights:
            names = list(weights.keys())
            shapes |= {
                name: torch.empty(weights.get_slice(name).get_shape(), device="meta") for name in names
            }
    return shapes


def read_dtype(folder: Path) -> torch.dtype:
    """What the weights of a folder are in, by the first matrix of its files.

    Raises:
        CheckpointError: a file is missing or damaged; names it.
    """
    for file in _weight_files(folder):
        with open_weights(file) as weights:
            for name in weights.keys():  # noqa: SIM118 - it is no mapping
                found = weights.get_slice(name)
                if len(found.get_shape()) > 1:
                    return _DTYPES.get(found.get_dtype(), torch.float32)
    return torch.float32


def _weight_files(folder: Path) -> list[Path]:
    """As transformers chooses them: one file, or those that the index names."""
    if is_there(folder / WEIGHTS):
        return [folder / WEIGHTS]
    if not is_there(folder / WEIGHTS_INDEX):
        raise CheckpointError(f"{folder} holds no weights in safetensors ({WEIGHTS})")
    index = read_json(folder / WEIGHTS_INDEX, _Index, INDEX_BYTES)
    files = [folder / name for name in sorted(set(index.weight_map.values()))]
    for file in files:
        if file.parent != folder or not is_there(file):
            raise CheckpointError(f"{folder} lacks {first_line(file.name)}, which {WEIGHTS_INDEX} names")
    return files


@contextmanager
def open_weights(file: Path) -> Iterator[Any]:
    """A safetensors file; the library checks names, types and places of all its tensors as it opens it.

    Raises:
        CheckpointError: it is none; names the file and what is wrong.
    """
    require_file(file, FILE_BYTES)
    with refuse_unusable(str(file)), safe_open(file, framework="pt") as weights:
        yield weights


def require_whole(source: Path, report: LoadReport) -> None:
    """Refuse weights that are not exactly those of the model.

    What is missing would be made up at random, and what is left over shows that the configuration is of another model.

    Raises:
        CheckpointError: names one of the weights.
    """
    if report.mismatched:
        name, found, wanted = report.mismatched[0]
        raise CheckpointError(
            f"{source} has {_count(report.mismatched)} of another shape than its configuration says, such as {name}: "
            f"{list(found)}, not {list(wanted)}"
        )
    if report.missing:
        raise CheckpointError(
            f"{source} lacks {len(report.missing)} of the model's weights, such as {report.missing[0]}"
        )
    if report.unexpected:
        raise CheckpointError(
            f"{source} has {_count(report.unexpected)} that its configuration has no place for, such as "
            f"{first_line(report.unexpected[0])}"
        )


def _count(entries: tuple[object, ...]) -> str:
    return f"{len(entries)} weight{'s' if len(entries) != 1 else ''}"
