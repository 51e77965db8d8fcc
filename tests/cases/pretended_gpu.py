"""A GPU that is only pretended: what the host would wait for, and what it could not compute there.

Tensors that are named, whatever is computed from them and whatever is moved to them are taken for tensors of a device
of its own, called ``cpu:0``. What hands a value of these to Python, or makes a tensor whose size depends on values,
stops the host until a device has caught up; it is counted. What takes tensors of both, as no operation on a GPU does,
is an error.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import CodeType
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import captum_paramsal

PACKAGE = str(Path(captum_paramsal.__file__).parent)
DEVICE = torch.device("cpu", 0)
"""What tensors of the device say that they are on; others say ``cpu``, without a number."""

WAITS = {
    "_local_scalar_dense",
    "_unique2",
    "bincount",
    "equal",
    "masked_select",
    "nonzero",
    "unique_consecutive",
    "unique_dim",
}
"""Operations whose result the host has to know before it goes on."""

BY_MASK = {"index", "index_put", "index_put_", "_index_put_impl_"}
"""Operations that take the places of a mask, as ``nonzero`` does; numbers of places may come from the host."""

MOVES = {"_to_copy", "copy_"}


class PretendedGPU(TorchDispatchMode):
    """Counts waits by operation and by the place in the package that asked.

    Attributes:
        waits: How often, by (operation, place).
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[tuple[str, str]] = Counter()
        # By storage, since autograd hands out other tensors than it was given; a weak reference keeps its number taken.
        self._held: dict[int, StorageWeakRef] = {}

    def hold(self, *tensors: Tensor) -> None:
        """Take tensors for those of the device."""
        for tensor in tensors:
            storage = tensor.untyped_storage()
            self._held[storage._cdata] = StorageWeakRef(storage)

    def holds(self, value: object) -> bool:
        """Whether it is a tensor of the device."""
        return isinstance(value, Tensor) and value.untyped_storage()._cdata in self._held

    def wait(self, what: str) -> None:
        """Count one."""
        frame = sys._getframe(1)
        while frame is not None and not _asks(frame.f_code):
            frame = frame.f_back
        place = "elsewhere"
        if frame is not None:
            place = f"{frame.f_code.co_filename[len(PACKAGE) + 1 :]}:{frame.f_lineno}"
        self.waits[what, place] += 1

    def moved(self, tensor: Tensor, target: object) -> Tensor:
        """A tensor that goes to a device, or to the one of another tensor."""
        there = self.holds(target) if isinstance(target, Tensor) else _is_device(target)
        if there == self.holds(tensor):
            return tensor
        if not there:
            self.wait("to the host")
        copy = tensor.clone()
        self._held.pop(copy.untyped_storage()._cdata, None)
        if there:
            self.hold(copy)
        return copy

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
        name = func._schema.name.removeprefix("aten::")
        there = any(map(self.holds, given)) or _is_device(kwargs.get("device"))
        if there:
            self._look(name, args, kwargs, given)
        result = func(*args, **kwargs)
        if there:
            self.hold(*(value for value in tree_leaves(result) if isinstance(value, Tensor)))
        return result

    def _look(self, name: str, args: Any, kwargs: Any, given: list[Tensor]) -> None:
        masks = [value for value in tree_leaves(args[1:2]) if _is_mask(value)] if name in BY_MASK else []
        if name in WAITS or (name == "repeat_interleave" and len(args) == 1 and kwargs.get("output_size") is None):
            self.wait(name)
        for _ in masks:
            self.wait("mask")
        if name in BY_MASK:
            given = [value for value in given if not any(value is index for index in tree_leaves(args[1]))]
        apart = [value for value in given if value.ndim and not self.holds(value)]
        if apart and name not in MOVES:
            message = f"{name} takes tensors of the device together with one of the host, {tuple(apart[0].shape)}"
            raise AssertionError(message)


def _asks(code: CodeType) -> bool:
    """Whether it is the package's own, and no mode that only hands on what others call."""
    return code.co_filename.startswith(PACKAGE) and code.co_name not in ("__torch_function__", "__torch_dispatch__")


def _is_device(value: object) -> bool:
    return isinstance(value, torch.device) and value.index == DEVICE.index


def _is_mask(value: object) -> bool:
    return isinstance(value, Tensor) and value.dtype in (torch.bool, torch.uint8)


def _target(args: tuple[object, ...], kwargs: dict[str, object]) -> object:
    """Where `Tensor.to` moves something; None for nowhere."""
    places = [value for value in (*args, *kwargs.values()) if isinstance(value, (str, torch.device, Tensor))]
    return torch.device(places[0]) if places and isinstance(places[0], str) else next(iter(places), None)


@contextmanager
def pretended_gpu(model: nn.Module, *tensors: Tensor) -> Iterator[PretendedGPU]:
    """Pretend that a model and some tensors are on a GPU.

    Args:
        model: Its weights and buffers.
        tensors: What else is there.
    """
    gpu = PretendedGPU()
    gpu.hold(*model.parameters(), *model.buffers(), *tensors)
    plain: dict[str, Callable[..., Any]] = {name: getattr(Tensor, name) for name in ("cpu", "numpy", "to", "tolist")}
    own_device, made = Tensor.device, {name: getattr(torch, name) for name in ("tensor", "as_tensor")}

    def cpu(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return gpu.moved(plain["cpu"](self, *args, **kwargs), torch.device("cpu"))

    def to(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        moved, target = plain["to"](self, *args, **kwargs), _target(args, kwargs)
        return moved if target is None else gpu.moved(moved, target)

    def tolist(self: Tensor) -> Any:
        if gpu.holds(self):
            gpu.wait("tolist")
        return plain["tolist"](self)

    def numpy(self: Tensor, *args: Any, **kwargs: Any) -> Any:
        if gpu.holds(self):
            message = "NumPy sees no tensors of a device"
            raise AssertionError(message)
        return plain["numpy"](self, *args, **kwargs)

    def device(self: Tensor) -> torch.device:
        return DEVICE if gpu.holds(self) else own_device.__get__(self)

    def made_at(name: str, value: Any, *args: Any, device: object = None, **kwargs: Any) -> Tensor:
        # These two make a tensor of numbers of Python without an operation that could be seen.
        new = made[name](value, *args, **kwargs)
        return new if device is None else gpu.moved(new, device)

    makers = {name: partial(made_at, name) for name in made}
    with (
        patch.multiple(torch, **makers),
        patch.multiple(Tensor, cpu=cpu, to=to, tolist=tolist, numpy=numpy, device=property(device)),
        gpu,
    ):
        yield gpu
