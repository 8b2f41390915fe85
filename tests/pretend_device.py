"""A device that is none: what code does with an accelerator, counted by source line on a machine without one.

A `PretendTensor` says that it is on `pretend:0` and holds a tensor on the CPU, which computes in its place. While a
`PretendDevice` is entered, everything that torch does with such tensors is recorded: kernels, copies to the device, what is
read back, waits, and tensors of two devices in one operation, which would raise on a GPU. Composite operations are counted
as the kernels torch makes of them. `stand_ins` computes operations that the CPU lacks.

    device = PretendDevice()
    device.move(model)
    with device:
        model(inputs.to(NAME))
    assert device.count(Kind.WAIT, Kind.READ) == 0, device.report()
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "pretend:0"
"""As a plan or `Tensor.to` takes it."""

ROOTS = ("/server/lithophone/", "/tests/")
"""Whose lines are named; else the innermost one outside of torch."""

NO_KERNEL = frozenset(
    {
        "_unsafe_view",
        "_reshape_alias",
        "lift_fresh",
        "detach_",
        "empty",
        "empty_like",
        "empty_strided",
        "new_empty",
        "new_empty_strided",
        "_assert_async",
        "_assert_scalar",
    }
)
"""Operations beside views that start nothing on a device."""

WHOLE = frozenset({"scaled_dot_product_attention"})
"""Operations that torch puts together of others on the CPU, and a GPU has a kernel for."""

SIZED_BY_VALUES = frozenset(
    {"nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "bincount", "equal"}
)
"""Operations for which the host must wait: the shape or the answer depends on the numbers."""


class Kind(Enum):
    """What was recorded."""

    KERNEL = "kernel"
    """A computation on the device."""

    COPY = "copy to the device"
    """From the host's memory."""

    READ = "read"
    """A copy to the host's memory: `item`, `tolist`, `cpu`, `numpy`. It waits, unless its name says non-blocking."""

    WAIT = "wait"
    """The host waits without a copy of its own: boolean masks, `nonzero`, `multinomial`, `equal`."""

    MIX = "mix"
    """Tensors of both devices in one operation; numbers of no dimension are allowed, as on a GPU."""


class Event(NamedTuple):
    """One of them: torch's name for the operation, and the line that caused it."""

    kind: Kind
    operation: str
    line: str


class PretendTensor(Tensor):
    """On the pretended device; `held` on the CPU."""

    held: Tensor
    owner: PretendDevice

    def __new__(cls, held: Tensor, owner: PretendDevice) -> Self:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=pretended(),
        )
        made.held, made.owner = held, owner
        return made

    def __repr__(self, **_: Any) -> str:
        return f"PretendTensor({tuple(self.shape)}, {self.dtype})"

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Methods that never reach the dispatcher, and attention, which is one kernel on any device."""
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunctionSubclass():
            if func in {Tensor.tolist, Tensor.numpy, Tensor.__array__}:
                return func(args[0].owner.read(args[0], func.__name__), *args[1:], **kwargs)
            if func is Tensor.data_ptr:
                return args[0].held.data_ptr()
            if func is functional.scaled_dot_product_attention:
                owner = next(leaf.owner for leaf in pytree.tree_leaves((args, kwargs)) if _pretends(leaf))
                return owner.compute(func, func.__name__, args, kwargs)
            return func(*args, **kwargs)

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Outside of `with`: the same."""
        owner = next(leaf.owner for leaf in pytree.tree_leaves((args, kwargs)) if _pretends(leaf))
        return owner.dispatch(func, args, dict(kwargs or {}))


class PretendDevice:
    """The device and its record.

    Args:
        stand_ins: By torch's name of an operation (`torch_attn::_varlen_attn`), what computes it from tensors on the CPU; it
            counts as one kernel.

    Attributes:
        events: What was recorded, in order.
    """

    def __init__(self, stand_ins: Mapping[str, Callable[..., Any]] | None = None) -> None:
        self.events: list[Event] = []
        self._stand_ins = dict(stand_ins or {})
        self._interception = _Interception(self)
        pretended()

    def __enter__(self) -> Self:
        self._interception.__enter__()
        self._lifted = torch._C._only_lift_cpu_tensors()
        lifted = True  # `torch.tensor(…, device=…)` is made on the host and copied
        torch._C._set_only_lift_cpu_tensors(lifted)
        return self

    def __exit__(self, *reason: object) -> None:
        torch._C._set_only_lift_cpu_tensors(self._lifted)
        self._interception.__exit__(*reason)

    def move(self, module: nn.Module) -> None:
        """Put all weights and buffers on the device, in place; nothing is recorded. Shared ones stay shared."""
        moved: dict[int, Any] = {}
        for part in module.modules():
            for name, weight in part._parameters.items():
                if weight is not None:
                    there = nn.Parameter(self.hold(weight), requires_grad=False)
                    part._parameters[name] = moved.setdefault(id(weight), there)
            for name, buffer in part._buffers.items():
                if buffer is not None:
                    part._buffers[name] = moved.setdefault(id(buffer), self.hold(buffer))

    def hold(self, tensor: Tensor) -> PretendTensor:
        """The tensor on the device; nothing is recorded."""
        return PretendTensor(tensor.detach(), self)

    def clear(self) -> None:
        """Forget what was recorded."""
        self.events.clear()

    def count(self, *kinds: Kind) -> int:
        """Recorded events of these kinds."""
        return sum(event.kind in kinds for event in self.events)

    def report(self, *kinds: Kind) -> str:
        """What was recorded of these kinds (of all but kernels, if none is given), by line, the most frequent first."""
        wanted = kinds or tuple(kind for kind in Kind if kind is not Kind.KERNEL)
        counted = Counter(event for event in self.events if event.kind in wanted)
        return "\n".join(
            f"{times:5d} {event.kind.value}: {event.operation} at {event.line}"
            for event, times in counted.most_common()
        )

    def record(self, kind: Kind, operation: str) -> None:
        """Note something under the line that caused it."""
        self.events.append(Event(kind, operation, _line()))

    def read(self, tensor: PretendTensor, operation: str) -> Tensor:
        """What the tensor holds, on the host."""
        self.record(Kind.READ, operation)
        return tensor.held

    def dispatch(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """An operation as torch's dispatcher gives it."""
        name = func._schema.name.split("::")[1]
        if not any(_is_here(leaf) for leaf in pytree.tree_leaves((args, kwargs))):
            return func(*args, **kwargs)
        stand_in = self._stand_ins.get(func._schema.name, func if name in WHOLE else None)
        if stand_in is not None:
            return self.compute(stand_in, name, args, kwargs)
        with self._interception:
            decomposed = func.decompose(*args, **kwargs)
        if decomposed is not NotImplemented:
            return decomposed
        return self._moved(func, name, args, kwargs)

    def _moved(self, func: Any, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """What moves between the memories; anything else is computed."""
        if name == "_to_copy":
            return self._copied(func, args[0], kwargs)
        if name == "copy_":
            return self._overwritten(func, args, kwargs)
        if name == "_local_scalar_dense":
            return func(self.read(args[0], "item"))
        self._note_waits(name, args, kwargs)
        return self.compute(func, name, args, kwargs, counts=not (func.is_view or name in NO_KERNEL))

    def compute(
        self, func: Any, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], *, counts: bool = True
    ) -> Any:
        """Run an operation on what the tensors hold; what comes out is on the device."""
        leaves = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if any(not _pretends(leaf) and leaf.dim() > 0 for leaf in leaves):
            self._note_mix(name)
        if counts:
            self.record(Kind.KERNEL, name)
        known = {id(leaf.held): leaf for leaf in leaves if isinstance(leaf, PretendTensor)}
        on_host = {key: value for key, value in kwargs.items() if key != "device"}
        out = func(*pytree.tree_map(_held, args), **pytree.tree_map(_held, on_host))
        return pytree.tree_map_only(
            Tensor, lambda leaf: known[id(leaf)] if id(leaf) in known else self.hold(leaf), out
        )

    def _copied(self, func: Any, source: Tensor, kwargs: Mapping[str, Any]) -> Tensor:
        """`to` another device or dtype."""
        target = kwargs.get("device", source.device)
        blocking = "" if not kwargs.get("non_blocking") else " non-blocking"
        on_host = {key: value for key, value in kwargs.items() if key not in {"device", "non_blocking"}}
        copied = func(_held(source), **on_host)
        if not _is_pretended(target):
            self.record(Kind.READ, "to" + blocking)
            return copied
        self.record(*((Kind.KERNEL, "cast") if _pretends(source) else (Kind.COPY, "to" + blocking)))
        return self.hold(copied)

    def _overwritten(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor:
        """`copy_` from one tensor over another."""
        into, source = args[0], args[1]
        blocking = " non-blocking" if (len(args) > 2 and args[2]) or kwargs.get("non_blocking") else ""
        if _pretends(into) and _pretends(source):
            self.record(Kind.KERNEL, "copy_")
        else:
            self.record(Kind.COPY if _pretends(into) else Kind.READ, "copy_" + blocking)
        func(_held(into), _held(source))
        return into

    def _note_waits(self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        masks = args[1] if name in {"index", "index_put", "index_put_", "_index_put_impl_"} else ()
        if any(isinstance(mask, Tensor) and mask.dtype in {torch.bool, torch.uint8} for mask in masks):
            self.record(Kind.WAIT, f"{name} by a mask")
        if name in SIZED_BY_VALUES:
            self.record(Kind.WAIT, name)
        if name == "repeat_interleave" and kwargs.get("output_size") is None:
            self.record(Kind.WAIT, "repeat_interleave without output_size")
        if name == "multinomial":
            self.record(Kind.WAIT, "multinomial looks whether its weights are finite")

    def _note_mix(self, name: str) -> None:
        """An index may be on the host: torch copies it."""
        if name in {"index", "index_put", "index_put_", "_index_put_impl_"}:
            self.record(Kind.COPY, f"{name} by an index on the host")
        else:
            self.record(Kind.MIX, name)


class _Interception(TorchDispatchMode):
    """Sees what is made on the device from nothing, and what leaves it."""

    def __init__(self, device: PretendDevice) -> None:
        super().__init__()
        self._device = device

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """See `PretendDevice.dispatch`."""
        return self._device.dispatch(func, args, dict(kwargs or {}))


class _NoModule:
    """What torch asks of a device's module, for one that is not there: nothing may find it by looking for devices."""

    def is_initialized(self) -> bool:
        return True

    def is_available(self) -> bool:
        return False

    def current_device(self) -> int:
        return 0

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed_all(self, seed: int) -> None:
        """It draws on the CPU."""

    def device_count(self) -> int:
        return 0


class _NoHook(torch._C._acc.PrivateUse1Hooks):  # pyright: ignore[reportAttributeAccessIssue]
    def is_available(self) -> bool:
        return False

    def has_primary_context(self, dev_id: int) -> bool:  # noqa: ARG002 - torch's signature
        return True

    def is_built(self) -> bool:
        return True


@cache
def pretended() -> torch.device:
    """The pretended device, registered with torch the first time it is asked for."""
    _setup_privateuseone_for_python_backend("pretend", _NoModule(), _NoHook())
    return torch.device(NAME)


def _pretends(leaf: object) -> bool:
    return isinstance(leaf, PretendTensor)


def _is_here(leaf: object) -> bool:
    return _pretends(leaf) or (isinstance(leaf, torch.device) and leaf == pretended())


def _held(leaf: Any) -> Any:
    return leaf.held if isinstance(leaf, PretendTensor) else leaf


def _is_pretended(device: torch.device | str) -> bool:
    return torch.device(device) == pretended()


def _line() -> str:
    """The innermost line of Lithophone or of a test, else of what is neither torch nor this file."""
    frame, other = sys._getframe(2), "?"
    while frame is not None:
        path = frame.f_code.co_filename
        if any(root in path for root in ROOTS) and path != __file__:
            return f"{Path(path).parent.name}/{Path(path).name}:{frame.f_lineno}"
        if other == "?" and "/torch/" not in path and path != __file__:
            other = f"{Path(path).name}:{frame.f_lineno}"
        frame = frame.f_back
    return other
