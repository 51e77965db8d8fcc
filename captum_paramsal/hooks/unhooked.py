"""A model without the hooks that its owner has put on it."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from torch import nn

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def without_hooks(model: nn.Module) -> nn.Module:
    """A copy with the same weights and the same submodules by the same names, none of which calls a hook.

    For runs that nobody asked for: what a hook collects must not see them. Hooks that compute a layer's weight, those
    of pruning and the older weight norm, stay.

    Args:
        model: The model; left as it is.

    >>> model = nn.Sequential(nn.ReLU())
    >>> handle = model[0].register_forward_hook(print)
    >>> import torch
    >>> without_hooks(model)(torch.zeros(1))
    tensor([0.])
    """
    return _copied(model, {})


def _copied(module: nn.Module, copies: dict[int, nn.Module]) -> nn.Module:
    if id(module) in copies:
        return copies[id(module)]
    copy: nn.Module = object.__new__(type(module))
    copies[id(module)] = copy
    state: dict[str, Any] = dict(vars(module))
    for name in _HOOKS:
        if name in state:
            state[name] = OrderedDict((key, hook) for key, hook in state[name].items() if _makes_weights(hook))
    for name in ("_parameters", "_buffers", "_non_persistent_buffers_set"):
        if name in state:
            state[name] = state[name].copy()
    state["_modules"] = {
        name: child if child is None else _copied(child, copies)
        for name, child in module._modules.items()  # noqa: SLF001
    }
    # Code that was compiled in place belongs to the module that it was compiled for.
    state["_compiled_call_impl"] = None
    # Lists and dicts that the forward pass fills are the copy's own.
    state |= {name: value.copy() for name, value in state.items() if type(value) in (list, dict, set)}
    object.__setattr__(copy, "__dict__", state)
    return copy


def _makes_weights(hook: Any) -> bool:
    return type(hook).__module__.startswith("torch.nn.utils")
