"""What a model is made of, as it is, and the way back to it after the model has run in another state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

COPIED_BYTES = 8 * 2**20
"""Up to this size all weights of a model are copied; of a larger one those that modules of one's own hold."""

_TOGETHER_BYTES = 4 * 2**20
"""Most that is compared at once."""

_PLAIN = (Tensor, nn.Parameter)

_REGISTERED = ("_parameters", "_buffers", "_modules")


@contextmanager
def as_it_was(model: nn.Module) -> Iterator[None]:
    """Put a model back when the context ends, also after an exception.

    Flags, buffers, submodules and tensors in attributes of every module, weights that a forward pass may write, and
    what ``train`` and ``eval`` of modules of one's own do besides setting a flag. What a module counts or collects in
    Python is its own.

    Args:
        model: The model.
    """
    modules = [_Module(module) for module in model.modules()]
    parameters = [
        (parameter, parameter.requires_grad) for parameter in model.parameters() if not parameter.is_inference()
    ]
    weights = _Copies(_weights_at_risk(model))
    buffers = _Copies(buffer for module in modules for buffer in module.buffers())
    try:
        yield
    finally:
        # Flags first: what `train` does may be asked of the parameters that need a gradient.
        for parameter, flag in parameters:
            parameter.requires_grad_(flag)
        for module in modules:
            module.switch_back()
        for module in modules:
            module.put_back()
        buffers.put_back()
        weights.put_back()


class _Module:
    """One module: its attributes, and what is registered in it."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._training = module.training
        # Parameters and modules are found by name in these; the dicts themselves stay.
        self._attributes = {name: value for name, value in vars(module).items() if name not in _REGISTERED}
        self._registered = {name: dict(vars(module)[name]) for name in _REGISTERED if name in vars(module)}

    def buffers(self) -> list[Tensor]:
        """The buffers that are registered in it."""
        return [buffer for buffer in self._registered.get("_buffers", {}).values() if buffer is not None]

    def switch_back(self) -> None:
        """Let modules that do more in ``train`` than set a flag do it."""
        module = self._module
        if module.training == self._training:
            return
        if type(module).train is nn.Module.train and type(module).eval is nn.Module.eval:
            module.training = self._training
            return
        if self._training:
            module.train()
        else:
            module.eval()

    def put_back(self) -> None:
        module, attributes = self._module, vars(self._module)
        module.training = self._training
        # Added and taken away one by one: an interruption in between must not empty the model.
        for name, registered in self._registered.items():
            # A scripted module has tables of its own, which nothing can be added to.
            if isinstance(attributes[name], dict):
                _restore(attributes[name], registered)
        for name, value in list(attributes.items()):
            before = self._attributes.get(name)
            if name in self._registered or value is before or not isinstance(value, Tensor):
                continue
            if name in self._attributes:
                attributes[name] = before
            else:
                del attributes[name]
        attributes.update({name: value for name, value in self._attributes.items() if isinstance(value, Tensor)})


def _weights_at_risk(model: nn.Module) -> Iterator[Tensor]:
    """Weights that a forward pass may write over."""
    small = sum(parameter.nbytes for parameter in model.parameters()) <= COPIED_BYTES
    for module in model.modules():
        if small or not type(module).__module__.startswith("torch.nn."):
            yield from module.parameters(recurse=False)


class _Copies:
    """Copies of tensors as they are.

    Small ones are copied and compared together: on a GPU the host waits for the answer of each comparison, and on a CPU
    a network has hundreds of buffers of a few numbers.
    """

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        alike: dict[tuple[torch.dtype, torch.device] | int, list[Tensor]] = {}
        for tensor in {id(tensor): tensor for tensor in tensors}.values():
            alike.setdefault(_kind(tensor), []).append(tensor)
        self._copies = [_Copy(some) for group in alike.values() for some in _in_chunks(group)]

    def put_back(self) -> None:
        for copy in self._copies:
            copy.put_back()


class _Copy:
    """One copy of several tensors of one type and device, or of one of any kind."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._tensors = tensors
        self._content = _joined(tensors)
        self._kinds = [(tensor.shape, *_type_of(tensor)) for tensor in tensors]

    def put_back(self) -> None:
        """Bring the tensors back to what they held, whoever wrote over them: not every way of writing is counted."""
        if len(self._tensors) == 1:
            _write_back(self._tensors[0], self._content)
            return
        as_before = [(tensor.shape, *_type_of(tensor)) for tensor in self._tensors] == self._kinds
        if as_before and torch.equal(_joined(self._tensors), self._content):
            return
        contents = self._content.split([shape.numel() for shape, *_ in self._kinds])
        for tensor, content, (shape, *_) in zip(self._tensors, contents, self._kinds, strict=True):
            _write_back(tensor, content.view(shape))


def _kind(tensor: Tensor) -> tuple[torch.dtype, torch.device] | int:
    """Equal for tensors that can be copied together."""
    plain = type(tensor) in _PLAIN and tensor.layout == torch.strided and not tensor.is_quantized
    return _type_of(tensor) if plain and tensor.nbytes <= _TOGETHER_BYTES else id(tensor)


def _type_of(tensor: Tensor) -> tuple[torch.dtype, torch.device]:
    return tensor.dtype, tensor.device


def _in_chunks(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """In turn, no more at a time than a comparison may take memory for."""
    chunk: list[Tensor] = []
    size = 0
    for tensor in tensors:
        if chunk and size + tensor.nbytes > _TOGETHER_BYTES:
            yield chunk
            chunk, size = [], 0
        chunk.append(tensor)
        size += tensor.nbytes
    if chunk:
        yield chunk


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    """A copy of one tensor, or of the numbers of several."""
    if len(tensors) == 1:
        return tensors[0].detach().clone()
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


def _restore(changed: dict[Any, Any], content: dict[Any, Any]) -> None:
    """Bring a dict back to a content; it is never empty in between."""
    for key in [key for key in changed if key not in content]:
        del changed[key]
    changed.update(content)


def _write_back(tensor: Tensor, content: Tensor) -> None:
    """Bring a tensor back to a content."""
    if tensor.shape == content.shape and torch.equal(tensor, content):
        return
    with torch.inference_mode() if tensor.is_inference() else torch.no_grad():
        if tensor.shape != content.shape:
            tensor.resize_(content.shape)
        tensor.copy_(content)
