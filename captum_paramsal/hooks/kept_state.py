"""What a model is made of, as it is, and the way back to it after the model has run in another state."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

COPIED_BYTES = 8 * 2**20
"""Up to this size all weights of a model are copied; of a larger one those that modules of one's own hold."""

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
    weights = _Weights(model)
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
        weights.put_back()


class _Module:
    """One module: its attributes, what is registered in it, and the content of its buffers."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._training = module.training
        # Parameters and modules are found by name in these; the dicts themselves stay.
        self._attributes = {name: value for name, value in vars(module).items() if name not in _REGISTERED}
        self._registered = {name: dict(vars(module)[name]) for name in _REGISTERED if name in vars(module)}
        self._buffers = [(buffer, buffer.detach().clone()) for buffer in module._buffers.values() if buffer is not None]  # noqa: SLF001

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
        for buffer, content in self._buffers:
            _write_back(buffer, content)


class _Weights:
    """Weights that a forward pass may write over."""

    def __init__(self, model: nn.Module) -> None:
        small = sum(parameter.nbytes for parameter in model.parameters()) <= COPIED_BYTES
        held = {
            id(parameter): parameter
            for module in model.modules()
            if small or not type(module).__module__.startswith("torch.nn.")
            for parameter in module.parameters(recurse=False)
        }
        self._copies = [(parameter, parameter.detach().clone()) for parameter in held.values()]

    def put_back(self) -> None:
        for parameter, content in self._copies:
            _write_back(parameter, content)


def _restore(changed: dict[Any, Any], content: dict[Any, Any]) -> None:
    """Bring a dict back to a content; it is never empty in between."""
    for key in [key for key in changed if key not in content]:
        del changed[key]
    changed.update(content)


def _write_back(tensor: Tensor, content: Tensor) -> None:
    """Bring a tensor back to a content, whoever wrote over it: not every way of writing is counted."""
    if tensor.shape == content.shape and torch.equal(tensor, content):
        return
    with torch.inference_mode() if tensor.is_inference() else torch.no_grad():
        if tensor.shape != content.shape:
            tensor.resize_(content.shape)
        tensor.copy_(content)
