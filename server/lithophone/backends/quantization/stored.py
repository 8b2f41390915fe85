"""A quantised model in files, from which it loads in seconds and without its whole weights.

Owns the form: tensors by the names of the model's layers, in files of a gigabyte, and a small file that says which way they
are rounded and which files there are. Numbers are kept as `Int8Weight` and `Int4Weight` have them, not as a processor's
kernels pack them, so that a folder serves any machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import msgspec
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from lithophone.backends.device.plan import Quantization
from lithophone.backends.quantization.eight import Int8Embedding
from lithophone.backends.quantization.joined import Joined, Part
from lithophone.backends.quantization.layers import Chosen, Numbers, SmallLayer, groups, put, settle
from lithophone.backends.quantization.manifest import MANIFEST, Manifest
from lithophone.errors import CheckpointError

FILE_BYTES: Final = 1 << 30


def write_small(model: Any, quantization: Quantization, source: str, folder: Path) -> None:
    """Write the weights of a quantised model. The folder is there; the manifest comes last, so that half a folder is none.

    Raises:
        OSError: the files cannot be written.
    """
    names: list[str] = []
    for part in _parts(_tensors(model)):
        names.append(f"quantized-{len(names) + 1:05}.safetensors")
        save_file(part, folder / names[-1])
    manifest = Manifest(quantization, tuple(names), source)
    (folder / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Quantised layers part by part, then everything else that the model would save."""
    for name, (weight, bias) in _numbers(model):
        for part in weight.__struct_fields__:
            yield f"{name}.{part}", getattr(weight, part)
        if bias is not None:
            yield f"{name}.bias", bias
    yield from _others(model)


def _numbers(model: nn.Module) -> Iterator[tuple[str, Numbers]]:
    """Weights and biases by the names of the model's layers; what several are joined in is unpacked once."""
    for owner, group in groupby(_small(model), key=lambda named: _owner(named[1])):
        numbers = owner.stored() if isinstance(owner, Joined) else [_number(owner)]
        yield from zip([name for name, _ in group], numbers, strict=True)


def _owner(layer: SmallLayer | Part) -> SmallLayer | Joined:
    return layer.joined if isinstance(layer, Part) else layer


def _number(layer: SmallLayer) -> Numbers:
    return layer.stored(), None if isinstance(layer, Int8Embedding) else layer.bias


def _small(model: nn.Module) -> list[tuple[str, SmallLayer | Part]]:
    """The layers of few bits by the names of the model's own; what several are joined in is inside one of them."""
    found = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, SmallLayer | Part)]
    parts = tuple(f"{name}." for name, layer in found if isinstance(layer, Part))
    return [(name, layer) for name, layer in found if not name.startswith(parts)]


def _others(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """What a model would save, without its quantised layers."""
    inside = tuple(f"{name}." for name, _ in _small(model))
    for name, tensor in model.state_dict().items():
        if not name.startswith(inside):
            yield name, tensor


def _parts(tensors: Iterator[tuple[str, Tensor]]) -> Iterator[dict[str, Tensor]]:
    part: dict[str, Tensor] = {}
    for name, tensor in tensors:
        part[name] = tensor.contiguous().clone()  # files hold no two tensors that share memory
        if sum(one.nbytes for one in part.values()) >= FILE_BYTES:
            yield part
            part = {}
    if part:
        yield part


def restore(model: Any, folder: Path, manifest: Manifest, dtype: torch.dtype) -> None:
    """Put stored weights into a model of their shape, whose own weights nobody has filled.

    Raises:
        CheckpointError: the files are not those of the model.
    """
    names = {id(module): f"{name}." if name else "" for name, module in model.named_modules()}
    with ExitStack() as stack:
        stored = _Stored(folder, manifest, stack)
        for group in groups(model, manifest.quantization):
            read = [
                _read_layer(stored, f"{names[id(chosen.parent)]}{chosen.name}", chosen) for chosen in group
            ]
            put(group, read, dtype)
        for name, tensor in _others(model):
            tensor.copy_(stored.read(name, tensor.shape))
        stored.require_empty()
    settle(model, dtype)


class _Stored:
    """The tensors of some files, each read once."""

    def __init__(self, folder: Path, manifest: Manifest, stack: ExitStack) -> None:
        self._folder = folder
        self._where: dict[str, Any] = {}
        for name in manifest.files:
            try:
                file = stack.enter_context(safe_open(folder / name, framework="pt"))
            except Exception as error:  # the library's own classes have no common one
                raise CheckpointError(f"{folder / name} is damaged: {error}") from error
            self._where |= dict.fromkeys(file.keys(), file)

    def read(self, name: str, shape: torch.Size) -> Tensor:
        """One of them.

        Raises:
            CheckpointError: it is not there, of another shape, or holds what is no number.
        """
        file = self._where.pop(name, None)
        if file is None:
            raise CheckpointError(f"{self._folder} lacks {name}")
        tensor: Tensor = file.get_tensor(name)
        if tensor.shape != shape:
            raise CheckpointError(f"{self._folder}: {name} is {list(tensor.shape)}, not {list(shape)}")
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{self._folder}: {name} is not finite: make the folder anew")
        return tensor.clone()

    def require_empty(self) -> None:
        """Everything has been read.

        Raises:
            CheckpointError: something has no place in the model.
        """
        if self._where:
            raise CheckpointError(
                f"{self._folder} has weights without a place, such as {next(iter(self._where))}"
            )


def _read_layer(stored: _Stored, name: str, chosen: Chosen) -> Numbers:
    parts: Mapping[str, tuple[int, ...]] = chosen.stored_shapes
    read = {part: stored.read(f"{name}.{part}", torch.Size(shape)) for part, shape in parts.items()}
    bias = getattr(chosen.layer, "bias", None)
    return chosen.kind(**read), None if bias is None else stored.read(f"{name}.bias", bias.shape)
